"""The reference client of the Renderiq Plugin API: Python 3.9 or newer, standard library only."""

from renderiq_client.client import Client
from renderiq_client.errors import NetworkError, RenderiqError, WebhookInvalid
from renderiq_client.session import Tokens
from renderiq_client.webhooks import verify_webhook

__all__ = ["Client", "NetworkError", "RenderiqError", "Tokens", "WebhookInvalid", "verify_webhook"]
