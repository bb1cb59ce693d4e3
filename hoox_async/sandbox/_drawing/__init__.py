"""Pictures of fake looks, drawn with Pillow."""
