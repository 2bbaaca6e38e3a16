"""The studio engine with real pictures: what it makes, what it refuses, and when it stops."""

import io
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, JpegImagePlugin

from common.engines import EngineError, Job, Picture, Quality, choose, get
from common.engines.png_rows import has_all_rows

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "docs" / "samples"


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.png").read_bytes()


def encoded(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | Image.Image, kind: str = "PNG") -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def job(snapshot: bytes, prompt: str = "a bright day", **changes: object) -> Job:
    plain = Job(snapshot, None, None, prompt, None, "standard", 0, None, time.monotonic() + 300)
    return replace(plain, **changes)  # type: ignore[arg-type]


def render(snapshot: bytes, prompt: str = "a bright day", **changes: object) -> list[Picture]:
    return choose("studio").render(job(snapshot, prompt, **changes), lambda _stage: None)


def pixels(picture: Picture) -> npt.NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB"), np.float64)


def grey(height: int = 120, width: int = 160, level: int = 150) -> npt.NDArray[np.uint8]:
    """A flat surface with a little texture, so that it is not taken for a background."""
    noise = np.random.default_rng(1).integers(-9, 10, (height, width, 1))
    return np.broadcast_to(np.clip(level + noise, 0, 255), (height, width, 3)).astype(np.uint8)


def code_of(call: Callable[[], object]) -> tuple[str, bool]:
    with pytest.raises(EngineError) as caught:
        call()
    return caught.value.code, caught.value.retryable


def test_auto_is_studio_and_an_unknown_or_missing_engine_is_refused() -> None:
    assert choose("auto") is choose("studio") is get("studio")
    assert not choose("auto").info.ai
    assert choose("auto").info.deterministic
    assert code_of(lambda: choose("gemini")) == ("engine_unavailable", True)
    assert code_of(lambda: get("nothing")) == ("engine_unavailable", True)


def test_importing_the_engines_loads_no_imaging_library() -> None:
    code = "import sys, common.engines; print([m for m in ('numpy', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_same_job_gives_the_same_bytes_and_another_seed_does_not() -> None:
    passes = {"depth": sample("room_depth"), "normal": sample("room_normal"), "quality": "draft"}
    first, again = (render(sample("room_flat"), "sunset", seed=7, **passes) for _ in range(2))
    assert [p.data for p in first] == [p.data for p in again]
    assert render(sample("room_flat"), "sunset", seed=8, **passes)[0].data != first[0].data


@pytest.mark.parametrize(("quality", "size"), [("draft", (120, 90)), ("standard", (160, 120)), ("high", (240, 180))])
def test_quality_sets_the_size(quality: Quality, size: tuple[int, int]) -> None:
    picture, thumbnail = render(encoded(grey()), quality=quality)
    assert (picture.role, thumbnail.role) == ("picture", "thumbnail")
    assert (picture.width, picture.height) == size
    assert Image.open(io.BytesIO(picture.data)).size == size
    assert picture.content_type == thumbnail.content_type == "image/jpeg"


def test_the_thumbnail_is_small_and_keeps_the_proportions() -> None:
    _, thumbnail = render(encoded(grey(400, 1000)))
    assert (thumbnail.width, thumbnail.height) == (320, 128)


def test_stages_are_reported_before_they_start() -> None:
    stages: list[str] = []
    choose("studio").render(job(encoded(grey())), stages.append)
    assert stages == ["prepare", "grade", "finish"]
    stages.clear()
    depth = encoded(np.full((60, 80), 3000, np.uint16))
    choose("studio").render(job(encoded(grey()), depth=depth), stages.append)
    assert stages == ["prepare", "geometry", "light", "grade", "finish"]


def test_what_the_report_raises_stops_the_render() -> None:
    class CanceledError(Exception):
        pass

    def report(stage: str) -> None:
        if stage == "grade":
            raise CanceledError

    with pytest.raises(CanceledError):
        choose("studio").render(job(encoded(grey())), report)


def test_a_deadline_that_has_passed_ends_the_render() -> None:
    stages: list[str] = []
    late = job(encoded(grey()), deadline=time.monotonic() - 1)
    assert code_of(lambda: choose("studio").render(late, stages.append)) == ("engine_timeout", True)
    assert stages == []


def test_a_deadline_that_passes_while_grading_ends_the_render() -> None:
    stages: list[str] = []

    def slow(stage: str) -> None:
        stages.append(stage)
        if stage == "grade":
            time.sleep(max(0.0, soon.deadline - time.monotonic()))

    soon = job(encoded(grey(400, 400)), deadline=time.monotonic() + 2)
    assert code_of(lambda: choose("studio").render(soon, slow)) == ("engine_timeout", True)
    assert stages == ["prepare", "grade"]


def test_night_is_darker_and_bluer_than_day_and_sunset_is_warmer() -> None:
    day, night, sunset = (pixels(render(encoded(grey()), p)[0]).mean((0, 1)) for p in ("day", "night", "sunset"))
    assert night.mean() < 0.7 * day.mean()
    assert night[2] / night[0] > day[2] / day[0] > sunset[2] / sunset[0]


def test_the_style_is_heard_as_the_prompt_is() -> None:
    colour = grey() * np.array([1.0, 0.6, 0.4])
    out = pixels(render(encoded(colour.astype(np.uint8)), style="black and white")[0]).mean((0, 1))
    assert out[0] - out[2] < 0.35 * (pixels(render(encoded(colour.astype(np.uint8)))[0]).mean((0, 1)) @ [1, 0, -1])


def test_a_surface_that_faces_the_sun_is_brighter_than_one_that_does_not() -> None:
    normal = np.full((120, 160, 3), 128, np.uint8)
    normal[:, :80] = (128, 0, 128)  # towards the camera, where the sun stands behind
    normal[:, 80:] = (128, 128, 0)  # downwards
    out = pixels(render(encoded(grey()), normal=encoded(normal))[0])
    assert out[:, :70].mean() > out[:, 90:].mean() + 40


def room() -> dict[str, npt.NDArray[np.float64]]:
    return {
        "both": pixels(render(sample("room_flat"), depth=sample("room_depth"), normal=sample("room_normal"))[0]),
        "normal": pixels(render(sample("room_flat"), normal=sample("room_normal"))[0]),
        "none": pixels(render(sample("room_flat"))[0]),
    }


def test_passes_light_the_room_and_depth_adds_the_shadow_under_the_table() -> None:
    out = room()
    under, open_floor = (slice(520, 535), slice(700, 760)), (slice(600, 640), slice(300, 420))
    ratio = {name: a[under].mean() / a[open_floor].mean() for name, a in out.items()}
    assert ratio["both"] < 0.75
    assert ratio["normal"] > 0.9
    assert ratio["none"] > 0.9
    # Unlit, ceiling and wall are the same colour; lit, the ceiling turns away from the sun.
    ceiling, wall = (slice(40, 90), slice(600, 700)), (slice(220, 270), slice(900, 1000))
    assert out["both"][wall].mean() > out["both"][ceiling].mean() + 30
    assert abs(out["none"][wall].mean() - out["none"][ceiling].mean()) < 15


def test_depth_alone_lights_the_room_nearly_as_both_passes_do() -> None:
    both = pixels(render(sample("room_flat"), depth=sample("room_depth"), normal=sample("room_normal"))[0])
    depth = pixels(render(sample("room_flat"), depth=sample("room_depth"))[0])
    assert np.corrcoef(both.mean(-1).ravel(), depth.mean(-1).ravel())[0, 1] > 0.9


def test_the_background_of_the_depth_pass_becomes_sky() -> None:
    blue = pixels(render(sample("room_flat"), depth=sample("room_depth"), normal=sample("room_normal"))[0])[200, 1270]
    assert blue[2] > blue[0] + 30


def test_where_a_normal_pass_has_nothing_becomes_sky() -> None:
    normal = np.full((120, 160, 3), (128, 0, 128), np.uint8)
    normal[:40] = 128
    out = pixels(render(encoded(grey()), normal=encoded(normal))[0])
    assert out[5, 80, 2] > out[5, 80, 0] + 30
    assert abs(out[100, 80, 2] - out[100, 80, 0]) < 25


def on_background(height: int = 200, width: int = 300) -> npt.NDArray[np.uint8]:
    picture = np.full((height, width, 3), (200, 200, 200), np.uint8)
    picture[120:] = grey(height - 120, width, 90)
    picture[60:140, 100:200] = grey(80, 100, 120)
    return picture


def test_a_flat_background_becomes_sky_and_the_subject_stays() -> None:
    out = pixels(render(encoded(on_background()))[0])
    top, subject = out[10, 20], out[100, 150]
    assert top[2] > top[0] + 40
    assert abs(subject[2] - subject[0]) < 25


def test_a_line_of_one_pixel_holds_the_sky_back() -> None:
    picture = np.full((800, 1280, 3), 255, np.uint8)
    picture[[300, 600], 400:880] = 0
    picture[300:601, [400, 879]] = 0
    picture[650:, :] = (120, 110, 100)  # shaded, so that it is no drawing
    out = pixels(render(encoded(picture))[0])
    assert out[305:595, 405:875].min() > 220, "inside it is a white wall"
    assert out[100, 640, 2] > out[100, 640, 0] + 40, "outside it is sky"


def test_a_flat_ceiling_stays_when_the_prompt_says_it_is_indoors() -> None:
    top = pixels(render(encoded(on_background()), "a bright living room")[0])[10, 20]
    assert abs(top[2] - top[0]) < 25


def test_what_is_transparent_becomes_sky() -> None:
    picture = np.dstack([grey(200, 300), np.full((200, 300), 255, np.uint8)])
    picture[:100, :, 3] = 0
    out = pixels(render(encoded(picture))[0])
    assert out[10, 150, 2] > out[10, 150, 0] + 40


def test_a_picture_whose_alpha_was_left_empty_is_no_less_there() -> None:
    empty = np.dstack([grey(), np.zeros((120, 160), np.uint8)])
    assert render(encoded(empty))[0].data == render(encoded(grey()))[0].data


def test_coloured_edges_are_kept_as_sharp_as_grey_ones() -> None:
    for picture in render(encoded(grey())):
        with Image.open(io.BytesIO(picture.data)) as image:
            assert JpegImagePlugin.get_sampling(image) == 0, "4:4:4"


def test_a_smooth_gradient_stays_smooth() -> None:
    ramp = np.linspace(40, 200, 640).astype(np.uint8)
    out = pixels(render(encoded(np.repeat(np.tile(ramp, (200, 1))[..., None], 3, axis=2)))[0])
    columns = out[60:140].mean((0, 2))
    assert (np.diff(columns) > -1.5).all()
    assert np.diff(columns).max() < 4


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5000, 1), (1, 5000), (3, 2), (17, 401)])
def test_any_size_is_rendered_with_and_without_passes(height: int, width: int) -> None:
    snapshot = encoded(grey(height, width))
    depth, normal = (
        encoded(np.full((2, 3), 900, np.uint16)),
        encoded(np.full((1, 1, 3), (128, 128, 255), np.uint8)),
    )
    for d, n in ((None, None), (depth, None), (None, normal), (depth, normal)):
        picture = render(snapshot, depth=d, normal=n)[0]
        assert (picture.height, picture.width) == (height, width)


def test_a_depth_pass_of_the_picture_s_odd_size_is_rendered() -> None:
    for height, width in ((1, 1), (5000, 1), (1, 5000)):
        depth = encoded(np.arange(500, 500 + height * width, dtype=np.uint16).reshape(height, width))
        assert render(encoded(grey(height, width)), depth=depth)[0].width == width


def test_passes_of_another_size_light_as_those_of_the_same_size() -> None:
    small = Image.open(SAMPLES / "room_normal.png").resize((640, 400), Image.Resampling.NEAREST)
    whole = pixels(render(sample("room_flat"), normal=sample("room_normal"))[0])
    half = pixels(render(sample("room_flat"), normal=encoded(small))[0])
    assert np.abs(whole - half).mean() < 3


@pytest.mark.parametrize("farthest", [np.uint8(255), np.uint16(65535)])
def test_a_depth_pass_that_is_all_background_is_no_pass(farthest: np.uint8 | np.uint16) -> None:
    nothing = encoded(np.full((120, 160), farthest))
    assert render(encoded(grey()), depth=nothing)[0].data == render(encoded(grey()))[0].data


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_read(mode: str) -> None:
    picture = Image.fromarray(grey())
    if mode == "I;16":
        wide = np.asarray(picture.convert("L"), np.uint16) * 257
        assert np.abs(pixels(render(encoded(wide))[0]) - pixels(render(encoded(grey()))[0])).mean() < 1
    else:
        assert render(encoded(picture.convert(mode)))[0].width == 160


def test_a_cmyk_jpeg_and_a_webp_are_read() -> None:
    picture = Image.fromarray(grey())
    for data in (encoded(picture.convert("CMYK"), "JPEG"), encoded(picture, "WEBP")):
        assert abs(pixels(render(data)[0]).mean() - pixels(render(encoded(picture))[0]).mean()) < 12


def test_a_picture_taken_on_its_side_is_turned() -> None:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey()).save(out, "JPEG", exif=exif)
    assert render(out.getvalue())[0].width == 120


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_more_than_16_megapixels_are_reduced(kind: str) -> None:
    picture = render(encoded(Image.new("RGB", (8000, 4000), (90, 120, 150)), kind), quality="draft")[0]
    assert picture.width / picture.height == pytest.approx(2, abs=0.01)
    assert picture.width * picture.height == pytest.approx(16e6 * 0.75**2, rel=0.01)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(40)])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert code_of(lambda: render(data)) == ("snapshot_unreadable", False)


def png(rows: int, *, size: int = 64, depth: int = 8, interlaced: bool = False) -> bytes:
    """A grey PNG of `size` a side with a zlib stream that is whole, of only `rows` rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, depth, 0, 0, 0, interlaced)
    content = zlib.compress((b"\0" + bytes(n % 255 + 1 for n in range(size * depth // 8))) * rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [1, 8, 16])
def test_a_png_that_lacks_rows_is_refused_though_its_stream_is_whole(depth: int) -> None:
    assert code_of(lambda: render(png(63, depth=depth))) == ("snapshot_unreadable", False)
    assert render(png(64, depth=depth))[0].height == 64


#: Which of the seven passes of Adam7 each pixel of an 8 x 8 square is in (PNG specification, 8.2).
ADAM7 = ("16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777")


@pytest.mark.parametrize("side", [1, 3, 5, 64])
def test_an_interlaced_png_s_rows_are_counted_by_its_passes(side: int) -> None:
    lines = [[ADAM7[y % 8][x % 8] for x in range(side)] for y in range(side)]
    raw = sum(1 + line.count(name) for name in "1234567" for line in lines if name in line)
    empty = png(0, size=side, interlaced=True)
    for size, whole in ((raw, True), (raw - 1, False)):
        content = zlib.compress(bytes(size))
        data = empty.replace(
            struct.pack(">I", 8) + b"IDAT" + zlib.compress(b""), struct.pack(">I", len(content)) + b"IDAT" + content
        )
        assert has_all_rows(data) is whole


def test_a_picture_that_says_to_have_too_many_pixels_is_not_decoded() -> None:
    with pytest.raises(EngineError, match="more than 100 Mpx"):
        render(png(1, size=10_001))


def test_a_damaged_pass_is_refused_by_its_name() -> None:
    with pytest.raises(EngineError, match="depth pass"):
        render(encoded(grey()), depth=sample("room_depth")[:5000])
    with pytest.raises(EngineError, match="normal pass"):
        render(encoded(grey()), normal=b"garbage")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_picture_is_rendered_or_refused_and_nothing_else(kind: str) -> None:
    good, chance = encoded(grey(24, 32), kind), random.Random(3)  # noqa: S311 - reproducible damage
    refused = 0
    for _ in range(60):
        bad = bytearray(good[: chance.randrange(8, len(good) + 1)])
        for _ in range(chance.randrange(1, 6)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        try:
            render(bytes(bad))
        except EngineError as error:
            assert error.code == "snapshot_unreadable"  # noqa: PT017 - either outcome is right
            refused += 1
    assert refused > 0


def test_a_standard_picture_takes_less_than_four_seconds_of_processor_time() -> None:
    started = time.process_time()
    render(sample("room_flat"), depth=sample("room_depth"), normal=sample("room_normal"))
    assert time.process_time() - started < 4


def test_a_lit_wall_colours_what_is_beside_it() -> None:
    """One bounce: the floor's warm light reaches the ceiling, which the sun does not."""
    passes = {"depth": sample("room_depth"), "normal": sample("room_normal")}
    snapshot = np.asarray(Image.open(SAMPLES / "room_flat.png").convert("RGB"))
    ceiling = (slice(40, 110), slice(200, 1000))
    green = snapshot.copy()
    floor = np.abs(snapshot.astype(int) - snapshot[700, 300]).max(-1) < 12
    green[floor] = (40, 160, 40)
    plain, tinted = (pixels(render(encoded(a), **passes)[0])[ceiling].mean((0, 1)) for a in (snapshot, green))
    assert (tinted[1] / tinted[0]) > 1.05 * (plain[1] / plain[0])


def test_fog_veils_a_picture_without_passes() -> None:
    plain, foggy = (pixels(render(sample("room_viewport"), p)[0]) for p in ("morning", "foggy morning"))
    assert np.percentile(foggy, 2) > np.percentile(plain, 2) + 8


def drawing(paper: int = 255, ink: int = 0) -> npt.NDArray[np.uint8]:
    """A hidden-line view: lines of one pixel, and a wall filled with ink as in a plan."""
    picture = np.full((400, 640, 3), paper, np.uint8)
    picture[50:350:20, 100:500] = ink
    picture[50:350, 100:500:40] = ink
    picture[300:330, 520:600] = ink
    return picture


@pytest.mark.parametrize("prompt", ["a bright day", "night", "a bright living room"])
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255), (33, 240)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_drawing_keeps_its_paper_and_its_lines(prompt: str, paper: int, ink: int, kind: str) -> None:
    sent = drawing(paper, ink)
    out = pixels(render(encoded(sent, kind), prompt)[0])
    assert np.abs(out[:40] - paper).max() <= 1
    assert np.abs(out[sent == ink].mean() - ink) < 20


def test_a_drawing_on_transparent_ground_is_drawn_on_white() -> None:
    clear = np.dstack([drawing(), 255 - drawing()[..., 0]])
    assert pixels(render(encoded(clear))[0])[:40].min() >= 254


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_sheet_stays_as_it_is(level: int) -> None:
    assert np.abs(pixels(render(encoded(np.full((120, 160, 3), level, np.uint8)))[0]) - level).max() <= 1


def test_a_white_ground_behind_surfaces_stays_white_where_no_sky_is_wanted() -> None:
    picture = on_background()
    picture[(picture == 200).all(-1)] = 255
    picture[120:] = 255
    assert np.median(pixels(render(encoded(picture), "a bright living room")[0])[:50, :90]) >= 250


def test_thin_lines_before_a_flat_background_are_not_lost_in_the_sky() -> None:
    picture = on_background()
    picture[20:22, 20:280] = 0
    out = pixels(render(encoded(picture))[0])
    assert out[20:22, 50:250].mean() < 0.5 * out[10:12, 50:250].mean()


def test_a_bright_scene_is_not_made_grey() -> None:
    bright = 255 - (255 - np.asarray(Image.open(SAMPLES / "room_viewport.png").convert("RGB"), np.float64)) * 0.15
    assert pixels(render(encoded(bright.astype(np.uint8)))[0]).mean() > bright.mean() - 8
