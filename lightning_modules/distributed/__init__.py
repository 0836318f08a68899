"""Several processes that train one network: who is who, starting them, and stopping them together."""
