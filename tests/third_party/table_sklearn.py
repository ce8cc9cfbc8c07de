"""Functions and estimators of scikit-learn, with array_api_dispatch=True.

Those that were measured for other array libraries.
"""

import sklearn
from sklearn import metrics
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import pairwise
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import (
    KernelCenterer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.utils.extmath import softmax

from third_party.harness import case, numbers

sklearn.set_config(array_api_dispatch=True)

V, W = numbers(5), numbers(5, seed=1)
P, Q = numbers(5, low=0.2, high=0.9, seed=2), numbers(5, low=0.3, high=2.0, seed=3)
M, N = numbers(5, 3, seed=4), numbers(4, 3, seed=5)
POSITIVE, ALSO_POSITIVE = numbers(5, 3, low=0.1, seed=6), numbers(4, 3, low=0.1, seed=7)
CLASSES = [0, 1, 1, 0, 1]
TALL = numbers(9, 2, seed=8)
LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 2]
CHANCES = numbers(5, 2, low=0.2, high=0.9, seed=9)

MORE = ("sk.accuracy_score",)       # not among the functions that were measured for other array libraries


def score(name, truth=V, guess=W):
    return case(getattr(metrics, name), truth, guess)


def on_classes(name, guess=P, **keywords):
    return case(lambda y, p: getattr(metrics, name)(y, p, **keywords), CLASSES, guess)


METRICS = {
    "sk.mean_squared_error": score("mean_squared_error"),
    "sk.mean_absolute_error": score("mean_absolute_error"),
    "sk.r2_score": score("r2_score"),
    "sk.root_mean_squared_error": score("root_mean_squared_error"),
    "sk.mean_squared_log_error": score("mean_squared_log_error", P, Q),
    "sk.mean_pinball_loss": score("mean_pinball_loss"),
    "sk.mean_tweedie_deviance": score("mean_tweedie_deviance", P, Q),
    "sk.mean_gamma_deviance": score("mean_gamma_deviance", P, Q),
    "sk.mean_poisson_deviance": score("mean_poisson_deviance", P, Q),
    "sk.explained_variance_score": score("explained_variance_score"),
    "sk.max_error": score("max_error"),
    "sk.mean_absolute_percentage_error": score("mean_absolute_percentage_error", P, Q),
    "sk.median_absolute_error": score("median_absolute_error"),
    "sk.d2_tweedie_score": score("d2_tweedie_score"),
    "sk.d2_absolute_error_score": score("d2_absolute_error_score"),
    "sk.log_loss": case(lambda y, p: metrics.log_loss(y, p / p.sum(axis=1)[:, None]), CLASSES, CHANCES),
    "sk.log_loss (1d)": on_classes("log_loss"),
    "sk.brier_score_loss": on_classes("brier_score_loss"),
    "sk.roc_auc_score": on_classes("roc_auc_score"),
    "sk.hinge_loss": on_classes("hinge_loss"),
    "sk.d2_log_loss": case(lambda y, p: metrics.d2_log_loss_score(y, p / p.sum(axis=1)[:, None]), CLASSES, CHANCES),
    "sk.accuracy_score": case(lambda y, p: metrics.accuracy_score(y, p > 0.5), CLASSES, P),
    "sk.average_precision": on_classes("average_precision_score"),
}

PAIRWISE = {
    "sk.euclidean_distances": case(pairwise.euclidean_distances, M, N),
    "sk.rbf_kernel": case(pairwise.rbf_kernel, M, N),
    "sk.linear_kernel": case(pairwise.linear_kernel, M, N),
    "sk.polynomial_kernel": case(pairwise.polynomial_kernel, M, N),
    "sk.sigmoid_kernel": case(pairwise.sigmoid_kernel, M, N),
    "sk.cosine_similarity": case(pairwise.cosine_similarity, M, N),
    "sk.cosine_distances": case(pairwise.cosine_distances, M, N),
    "sk.laplacian_kernel": case(pairwise.laplacian_kernel, M, N),
    "sk.manhattan_distances": case(pairwise.manhattan_distances, M, N),
    "sk.paired_euclidean_distances": case(pairwise.paired_euclidean_distances, M, M[::-1] + 0.1),
    "sk.paired_cosine_distances": case(pairwise.paired_cosine_distances, M, M[::-1] + 0.1),
    "sk.chi2_kernel": case(pairwise.chi2_kernel, POSITIVE, ALSO_POSITIVE),
    "sk.additive_chi2_kernel": case(pairwise.additive_chi2_kernel, POSITIVE, ALSO_POSITIVE),
    "sk.pairwise_distances": case(lambda x, y: metrics.pairwise_distances(x, y, metric="euclidean"), M, N),
    "sk.softmax": case(lambda x: softmax(x * 1.0), M),
}

PREPROCESSING = {
    "sk.StandardScaler": case(lambda x: StandardScaler().fit_transform(x), M),
    "sk.MinMaxScaler": case(lambda x: MinMaxScaler().fit_transform(x), M),
    "sk.MaxAbsScaler": case(lambda x: MaxAbsScaler().fit_transform(x), M),
    "sk.RobustScaler": case(lambda x: RobustScaler().fit_transform(x), M),
    "sk.Normalizer": case(lambda x: Normalizer().fit_transform(x), M),
    "sk.KernelCenterer": case(lambda x: KernelCenterer().fit_transform(x @ x.T), M),
    "sk.PolynomialFeatures": case(lambda x: PolynomialFeatures(2).fit_transform(x), M),
    "sk.SplineTransformer": case(lambda x: SplineTransformer(3, degree=2).fit_transform(x), M),
    "sk.PowerTransformer": case(lambda x: PowerTransformer().fit_transform(x), M, tolerance=1e-3),
}


def temperature(x, y):
    model = CalibratedClassifierCV(LinearDiscriminantAnalysis(), method="temperature", cv=3, ensemble=False)
    return model.fit(x, y).predict_proba(x)


MODELS = {
    "sk.Ridge(svd) coef": case(lambda x, y: Ridge(solver="svd").fit(x, y).coef_, M, V),
    "sk.Ridge(auto)": case(lambda x, y: Ridge().fit(x, y).predict(x), M, V),
    "sk.RidgeCV": case(lambda x, y: RidgeCV(alphas=[0.5, 5.0]).fit(x, y).coef_, M, V),
    "sk.LinearRegression": case(lambda x, y: LinearRegression().fit(x, y).coef_, M, V),
    "sk.LogisticRegression(lbfgs)": case(
        lambda x, y: LogisticRegression().fit(x, y).coef_, TALL, LABELS, tolerance=1e-3,
    ),
    "sk.LDA(svd).predict_proba": case(
        lambda x, y: LinearDiscriminantAnalysis().fit(x, y).predict_proba(x), TALL, LABELS,
    ),
    "sk.GaussianNB.predict_log_proba": case(lambda x, y: GaussianNB().fit(x, y).predict_log_proba(x), TALL, LABELS),
    "sk.PCA(full).explained_variance_": case(lambda x: PCA(2, svd_solver="full").fit(x).explained_variance_, M),
    "sk.PCA(covariance_eigh).explained_variance_": case(
        lambda x: PCA(2, svd_solver="covariance_eigh").fit(x).explained_variance_, M,
    ),
    "sk.PCA.transform**2": case(lambda x: PCA(2, svd_solver="full").fit_transform(x) ** 2, M),
    "sk.PCA.score_samples": case(lambda x: PCA(2, svd_solver="full").fit(x).score_samples(x), M),
    "sk.GaussianMixture.score_samples": case(
        lambda x: GaussianMixture(2, init_params="random", max_iter=3, tol=0.0, random_state=0).fit(x).score_samples(x),
        TALL,
    ),
    "sk.KMeans": case(lambda x: KMeans(2, n_init=1, random_state=0).fit(x).cluster_centers_, TALL),
    "sk.Nystroem": case(lambda x: Nystroem(n_components=3, random_state=0).fit_transform(x) ** 2, M),
    "sk.calibration/temperature": case(temperature, TALL, LABELS),
    "sk.gp kernel RBF": case(lambda x: RBF(0.7)(x), M),
}

CASES = {**METRICS, **PAIRWISE, **PREPROCESSING, **MODELS}

