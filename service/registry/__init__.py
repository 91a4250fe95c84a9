"""The loaded models: their versions, states and aliases. The catalog lists the models that can be loaded."""
