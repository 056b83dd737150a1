"""Programs that prove the protocol: model, faults, consumers, simulation."""
