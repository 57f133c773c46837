"""headstart as estimators of scikit-learn, for its pipelines, searches and cross-validation.

    from headstart.sklearn import HeadstartClassifier, PhotoFeatures
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline

    cross_val_score(make_pipeline(PhotoFeatures(), LogisticRegression()), paths, labels)
    HeadstartClassifier(strategy="finetune").fit(paths, labels).predict(new_paths)

X is a list, an array or a column of paths, or pictures as ``headstart.predict`` takes them: each element is one photo.

scikit-learn's ``check_estimator`` passes tables of numbers, so it skips (by the tag ``two_d_array=False``) what needs
data; the checks without data pass, and tests/sklearn repeats the others with photos. Exceptions: there is no
``n_features_in_``, because a photo has no columns; a photo that cannot be read, and too few photos of a class, raise
``headstart.errors.DataError``; one class alone is refused, because there is nothing to tell apart.
"""

try:
    import sklearn.base  # noqa: F401
except ImportError:
    raise ImportError('headstart.sklearn needs scikit-learn: pip install "headstart[sklearn]"') from None

from headstart.sklearn.classifier import HeadstartClassifier
from headstart.sklearn.features import PhotoFeatures

__all__ = ["HeadstartClassifier", "PhotoFeatures"]
