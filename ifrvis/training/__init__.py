"""One run: build the model, train it, resume exactly."""
