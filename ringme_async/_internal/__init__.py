"""Small parts that several rooms share. Users import none of them."""
