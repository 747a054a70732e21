"""Networks from plain data: their layout, their torch module, their fast acting path."""
