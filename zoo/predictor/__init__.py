"""From a video to a prediction: face, moment, motion, class."""

from zoo.predictor.brief import predict_clip, predict_sample
from zoo.predictor.video import predict

__all__ = ["predict", "predict_clip", "predict_sample"]
