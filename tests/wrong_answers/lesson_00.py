"""Typical mistakes, which the checks of lesson 00 must notice."""

WRONG = {
    "check_belief": [
        lambda picture, captions, factor: captions @ picture,  # cosines are no probabilities
        lambda picture, captions, factor: (captions @ picture).softmax(0),  # the factor is left out
        lambda picture, captions, factor: (-factor * captions @ picture).softmax(0),
        lambda picture, captions, factor: (factor * captions @ picture)[None].softmax(0),  # over the wrong axis
    ],
    "check_top_k_accuracy": [
        lambda similarity, labels, k: (similarity.argmax(1) == labels).float().mean(),  # whatever k is
        lambda similarity, labels, k: (similarity.topk(k).indices == labels[:, None]).sum(),  # a count
        lambda similarity, labels, k: (similarity.topk(k).indices == labels[:, None]).float().mean(),  # over k as well
        lambda similarity, labels, k: (similarity.argsort(1)[:, :k] == labels[:, None]).any(1).float().mean(),
    ],
    "check_mean_chance": [
        lambda classes: 1 / (sum(classes) / len(classes)),
        lambda classes: sum(classes) / len(classes),
        lambda classes: 1 / max(classes),
    ],
}
