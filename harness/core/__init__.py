"""The ground floor: types, errors, prompts, structured output, files and the terminal."""
