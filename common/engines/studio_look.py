"""What the prompt and the style ask of the studio engine: light, sky and grade. Plain Python.

Colours are linear RGB; a sun or sky of 1 lights a white surface to 1 before exposure.
"""

import re
from dataclasses import dataclass, replace

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """One way to light and grade; angles in degrees, `key` the mean luminance aimed for."""

    time: str
    sun: Colour
    sky: Colour
    zenith: Colour
    horizon: Colour
    elevation: float
    key: float
    haze: float = 0.10
    glow: float = 0.12
    vignette: float = 0.05
    contrast: float = 1.0
    saturation: float = 1.08
    detail: float = 1.25
    tint: Colour = (1.0, 1.0, 1.0)
    softness: float = 1.0
    clouds: float = 0.35
    indoors: bool = False


_TIMES = {
    "day": Look("day", (2.5, 2.36, 2.12), (0.56, 0.68, 0.88), (0.13, 0.30, 0.64), (0.66, 0.80, 0.95), 46, 0.19),
    "morning": Look(
        "morning",
        (2.5, 2.06, 1.55),
        (0.52, 0.62, 0.84),
        (0.24, 0.42, 0.70),
        (1.0, 0.86, 0.70),
        30,
        0.18,
        haze=0.2,
    ),
    "sunset": Look(
        "sunset",
        (3.0, 1.72, 0.82),
        (0.42, 0.42, 0.66),
        (0.17, 0.22, 0.46),
        (1.25, 0.60, 0.28),
        22,
        0.15,
        haze=0.16,
        glow=0.3,
        vignette=0.16,
    ),
    "dusk": Look(
        "dusk",
        (0.50, 0.40, 0.62),
        (0.42, 0.50, 0.90),
        (0.05, 0.09, 0.25),
        (0.52, 0.34, 0.38),
        28,
        0.085,
        haze=0.14,
        glow=0.3,
        vignette=0.2,
        softness=4.0,
    ),
    "night": Look(
        "night",
        (0.62, 0.78, 1.18),
        (0.17, 0.24, 0.48),
        (0.006, 0.011, 0.032),
        (0.028, 0.045, 0.10),
        42,
        0.042,
        haze=0.05,
        glow=0.35,
        vignette=0.24,
        saturation=0.85,
        clouds=0.15,
    ),
}
_TIME_WORDS = {
    "night": "night nighttime midnight moonlight moonlit nocturnal",
    "dusk": "dusk twilight nightfall blue.hour",
    "sunset": "sunset evening golden golden.hour sundown",
    "morning": "morning sunrise dawn breakfast",
    "day": "day daylight noon midday sunny",
}
_OVERCAST = "overcast cloudy rain rainy grey.sky gray.sky diffuse snow snowy winter"
_FOG = "fog foggy mist misty haze hazy"
_INDOORS = "interior indoor indoors inside room kitchen bedroom bathroom living.room hallway corridor ceiling"
_MOODS: dict[str, dict[str, float | Colour]] = {
    "warm cosy cozy candlelight": {"tint": (1.07, 1.0, 0.86)},
    "cool cold icy": {"tint": (0.92, 1.0, 1.12)},
    "dramatic cinematic moody": {"contrast": 1.18, "vignette": 0.26, "detail": 1.4},
    "minimal minimalist scandinavian clean bright airy": {"key": 0.225, "saturation": 0.95, "contrast": 0.95},
    "vivid vibrant colourful colorful": {"saturation": 1.35},
    "vintage retro film muted": {"saturation": 0.78, "tint": (1.06, 1.0, 0.9)},
    "monochrome grayscale greyscale black.and.white": {"saturation": 0.0, "contrast": 1.1},
}


def look_for(prompt: str, style: str | None) -> Look:
    """The look that the words of the prompt and the style ask for; day when they say nothing."""
    text = f"{prompt} {style or ''}".lower()
    time = next((name for name, words in _TIME_WORDS.items() if _says(text, words)), "day")
    look = _TIMES[time]
    if _says(text, _OVERCAST):
        look = _under_clouds(look)
    if _says(text, _FOG):
        look = replace(look, haze=look.haze + 0.45, clouds=0.0, softness=3.0)
    for words, change in _MOODS.items():
        if _says(text, words):
            look = _moved(look, change)
    return replace(look, indoors=_says(text, _INDOORS))


def _says(text: str, words: str) -> bool:
    return any(re.search(rf"\b{word.replace('.', '[ -]?')}\b", text) for word in words.split())


def _under_clouds(look: Look) -> Look:
    """No hard sun; what the sun gave comes, greyer, from the whole sky."""
    grey = sum(look.sky) / 3 + sum(look.sun) / 12
    level = sum(look.horizon) / 3
    return replace(
        look,
        sun=_mixed(look.sun, 0.22, 0.0),
        sky=_mixed(look.sky, 0.35, 0.65 * grey),
        zenith=(0.62 * level, 0.66 * level, 0.72 * level),
        horizon=(0.92 * level, 0.95 * level, level),
        softness=8.0,
        clouds=0.8,
        glow=0.1,
        saturation=look.saturation * 0.88,
    )


def _mixed(colour: Colour, share: float, rest: float) -> Colour:
    red, green, blue = colour
    return (share * red + rest, share * green + rest, share * blue + rest)


def _moved(look: Look, change: dict[str, float | Colour]) -> Look:
    """A mood changes what the time of day set, and keeps its darkness: a bright night is a night."""
    values = dict(change)
    key = values.get("key")
    if isinstance(key, float):
        values["key"] = look.key * key / _TIMES["day"].key
    return replace(look, **values)  # type: ignore[arg-type]  # by fields of Look
