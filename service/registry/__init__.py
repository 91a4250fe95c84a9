"""What is loaded: models, their versions and states, and who may enter. The catalog says what could be."""
