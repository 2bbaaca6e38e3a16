"""Terraform without a cloud: the provider's schema, a stand-in provider, and Terraform itself, from pip alone."""
