"""What a specification says is drawn: clips of videos, clips around every frame, pseudo-videos among them."""
