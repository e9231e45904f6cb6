"""The works that a text on a run cites, numbered in the order in which it names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["WORKS", "Citations", "Work", "backbone_work"]


class Work(NamedTuple):
    """A work as a list of references has it, and its address."""

    words: str
    address: str


#: key → work
WORKS: Mapping[str, Work] = {
    "nielsen": Work(
        "M. Nielsen, L. Wenderoth, T. Sentker, R. Werner. Self-Supervision for Medical Image Classification: "
        "State-of-the-Art Performance with ~100 Labeled Training Samples per Class. Bioengineering 2023, "
        "10(8), 895.", "https://doi.org/10.3390/bioengineering10080895",
    ),
    "dino": Work(
        "M. Caron, H. Touvron, I. Misra, H. Jégou, J. Mairal, P. Bojanowski, A. Joulin. Emerging Properties "
        "in Self-Supervised Vision Transformers. ICCV 2021.", "https://arxiv.org/abs/2104.14294",
    ),
    "xcit": Work(
        "A. El-Nouby et al. XCiT: Cross-Covariance Image Transformers. NeurIPS 2021.",
        "https://arxiv.org/abs/2106.09681",
    ),
    "vit": Work(
        "A. Dosovitskiy et al. An Image Is Worth 16x16 Words: Transformers for Image Recognition at Scale. "
        "ICLR 2021.", "https://arxiv.org/abs/2010.11929",
    ),
    "resnet": Work(
        "K. He, X. Zhang, S. Ren, J. Sun. Deep Residual Learning for Image Recognition. CVPR 2016.",
        "https://arxiv.org/abs/1512.03385",
    ),
    "efficientnet": Work(
        "M. Tan, Q. V. Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. "
        "ICML 2019.", "https://arxiv.org/abs/1905.11946",
    ),
    "convnext": Work(
        "Z. Liu, H. Mao, C.-Y. Wu, C. Feichtenhofer, T. Darrell, S. Xie. A ConvNet for the 2020s. CVPR 2022.",
        "https://arxiv.org/abs/2201.03545",
    ),
    "timm": Work(
        "R. Wightman. PyTorch Image Models. 2019.", "https://doi.org/10.5281/zenodo.4414861",
    ),
    "sinkhorn": Work(
        "M. Caron, I. Misra, J. Mairal, P. Goyal, P. Bojanowski, A. Joulin. Unsupervised Learning of Visual "
        "Features by Contrasting Cluster Assignments. NeurIPS 2020.", "https://arxiv.org/abs/2006.09882",
    ),
    "koleo": Work(
        "A. Sablayrolles, M. Douze, C. Schmid, H. Jégou. Spreading Vectors for Similarity Search. ICLR 2019.",
        "https://arxiv.org/abs/1806.03198",
    ),
    "adamw": Work(
        "I. Loshchilov, F. Hutter. Decoupled Weight Decay Regularization. ICLR 2019.",
        "https://arxiv.org/abs/1711.05101",
    ),
    "clipping": Work(
        "A. Brock, S. De, S. L. Smith, K. Simonyan. High-Performance Large-Scale Image Recognition Without "
        "Normalization. ICML 2021.", "https://arxiv.org/abs/2102.06171",
    ),
    "layer_decay": Work(
        "K. Clark, M.-T. Luong, Q. V. Le, C. D. Manning. ELECTRA: Pre-training Text Encoders as "
        "Discriminators Rather Than Generators. ICLR 2020.", "https://arxiv.org/abs/2003.10555",
    ),
    "yeojohnson": Work(
        "I.-K. Yeo, R. A. Johnson. A New Family of Power Transformations to Improve Normality or Symmetry. "
        "Biometrika 2000, 87(4), 954–959.", "https://doi.org/10.1093/biomet/87.4.954",
    ),
    "svm": Work(
        "C. Cortes, V. Vapnik. Support-Vector Networks. Machine Learning 1995, 20, 273–297.",
        "https://doi.org/10.1007/BF00994018",
    ),
    "knn": Work(
        "T. M. Cover, P. E. Hart. Nearest Neighbor Pattern Classification. IEEE Transactions on Information "
        "Theory 1967, 13(1), 21–27.", "https://doi.org/10.1109/TIT.1967.1053964",
    ),
    "lda": Work(
        "R. A. Fisher. The Use of Multiple Measurements in Taxonomic Problems. Annals of Eugenics 1936, "
        "7(2), "
        "179–188.", "https://doi.org/10.1111/j.1469-1809.1936.tb02137.x",
    ),
    "sklearn": Work(
        "F. Pedregosa et al. Scikit-learn: Machine Learning in Python. Journal of Machine Learning Research "
        "2011, 12, 2825–2830.", "https://arxiv.org/abs/1201.0490",
    ),
    "torch": Work(
        "A. Paszke et al. PyTorch: An Imperative Style, High-Performance Deep Learning Library. NeurIPS "
        "2019.",
        "https://arxiv.org/abs/1912.01703",
    ),
    "balanced": Work(
        "K. H. Brodersen, C. S. Ong, K. E. Stephan, J. M. Buhmann. The Balanced Accuracy and Its Posterior "
        "Distribution. ICPR 2010.", "https://doi.org/10.1109/ICPR.2010.764",
    ),
    "bootstrap": Work(
        "C. A. Field, A. H. Welsh. Bootstrapping Clustered Data. Journal of the Royal Statistical Society B "
        "2007, 69(3), 369–390.", "https://doi.org/10.1111/j.1467-9868.2007.00593.x",
    ),
    "exact": Work(
        "C. J. Clopper, E. S. Pearson. The Use of Confidence or Fiducial Limits Illustrated in the Case of "
        "the Binomial. Biometrika 1934, 26(4), 404–413.", "https://doi.org/10.1093/biomet/26.4.404",
    ),
    "holm": Work(
        "S. Holm. A Simple Sequentially Rejective Multiple Test Procedure. Scandinavian Journal of "
        "Statistics "
        "1979, 6(2), 65–70.", "https://www.jstor.org/stable/4615733",
    ),
    "temperature": Work(
        "C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. On Calibration of Modern Neural Networks. ICML 2017.",
        "https://arxiv.org/abs/1706.04599",
    ),
    "multiclass": Work(
        "B. Zadrozny, C. Elkan. Transforming Classifier Scores into Accurate Multiclass Probability "
        "Estimates. KDD 2002.", "https://doi.org/10.1145/775047.775151",
    ),
    "conformal": Work(
        "A. N. Angelopoulos, S. Bates. A Gentle Introduction to Conformal Prediction and Distribution-Free "
        "Uncertainty Quantification. 2021.", "https://arxiv.org/abs/2107.07511",
    ),
    "reinhard": Work(
        "E. Reinhard, M. Ashikhmin, B. Gooch, P. Shirley. Color Transfer between Images. IEEE Computer "
        "Graphics and Applications 2001, 21(5), 34–41.", "https://doi.org/10.1109/38.946629",
    ),
    "cards": Work(
        "M. Mitchell et al. Model Cards for Model Reporting. FAT* 2019.",
        "https://doi.org/10.1145/3287560.3287596",
    ),
    "claim": Work(
        "A. S. Tejani, M. E. Klontzas, A. A. Gatti, J. T. Mongan, L. Moy, S. H. Park, C. E. Kahn Jr, CLAIM "
        "2024 Update Panel. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update. "
        "Radiology: Artificial Intelligence 2024, 6(4), e240300.", "https://doi.org/10.1148/ryai.240300",
    ),
    "tripod": Work(
        "G. S. Collins et al. TRIPOD+AI Statement: Updated Guidance for Reporting Clinical Prediction Models "
        "That Use Regression or Machine Learning Methods. BMJ 2024, 385, e078378.",
        "https://doi.org/10.1136/bmj-2023-078378",
    ),
}
#: how the name of a backbone begins → the work that describes it
BACKBONES = {
    "xcit": "xcit", "vit": "vit", "deit": "vit", "resnet": "resnet", "efficientnet": "efficientnet",
    "tf_efficientnet": "efficientnet", "convnext": "convnext",
}


def backbone_work(name: str) -> str:
    """The key of the work that describes a backbone of that name; timm's where none here does.

    Examples:
        >>> backbone_work("xcit_small_12_p8_224.fb_dist_in1k"), backbone_work("mobilenetv3_small_050")
        ('xcit', 'timm')
    """
    return next((key for start, key in BACKBONES.items() if name.startswith(start)), "timm")


class Citations:
    """Gives each work a number when it is first named.

    Examples:
        >>> cite = Citations()
        >>> cite("dino"), cite("svm", "dino"), len(cite.works)
        ('[1]', '[2, 1]', 2)
    """

    def __init__(self) -> None:
        self._order: list[str] = []

    def __call__(self, *keys: str) -> str:
        """The numbers of the works in square brackets."""
        self._order += [key for key in dict.fromkeys(keys) if key not in self._order]
        return f"[{', '.join(str(self._order.index(key) + 1) for key in keys)}]"

    @property
    def works(self) -> list[Work]:
        """The works in their order."""
        return [WORKS[key] for key in self._order]
