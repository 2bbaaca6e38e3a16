"""One folder an endpoint; each holds one function and nothing that another needs."""
