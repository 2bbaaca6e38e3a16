"""A stand-in for Cloud Storage: the JSON API that the client library uses, V4 signed URLs, resumable uploads."""
