"""Finding the people and objects of a photo, and choosing the person that a question is about."""

from interactvlm.detection.detector import Detection, Detector
from interactvlm.detection.embedded import EmbeddedDetector
from interactvlm.detection.selection import Selection, crop_for, select_person

__all__ = ["Detection", "Detector", "EmbeddedDetector", "Selection", "crop_for", "select_person"]
