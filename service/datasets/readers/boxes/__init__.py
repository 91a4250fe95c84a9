"""Readers of pictures with boxes around objects: COCO and YOLO folders."""
