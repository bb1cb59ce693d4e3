"""The pictures that the sandbox serves for its looks: a drawn person before a background.

It uses Pillow, which it imports only when a picture is drawn, and from this library only the sandbox's looks
and the errors.
"""
