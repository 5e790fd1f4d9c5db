"""Typical mistakes, which the checks of lesson 14 must notice."""

WRONG = {
    "check_most_similar": [
        lambda query, gallery, k: (gallery @ query).topk(k).indices,  # dot products, not cosines
        lambda query, gallery, k: ((gallery @ query) / gallery.norm(dim=1)).argsort()[:k],  # the least similar
        lambda query, gallery, k: ((gallery @ query) / gallery.norm(dim=1)).argsort()[-k:],  # turned round
        lambda query, gallery, k: (gallery @ query / gallery.norm(dim=1)).topk(3).indices,  # always three
    ],
    "check_shares": [
        lambda cosines, logit_scale: (logit_scale * cosines).softmax(0),  # forgets exp
        lambda cosines, logit_scale: cosines.softmax(0),  # no scale
        lambda cosines, logit_scale: logit_scale.exp() * cosines,  # no softmax
    ],
    "check_misfits": [
        lambda found, expected: [n for n in found if found[n] != expected.get(n)],  # misses what is missing
        lambda found, expected: [n for n in expected if expected[n] != found.get(n)],  # misses what is unknown
        lambda found, expected: list(found.keys() ^ expected.keys()),  # names only, no shapes
    ],
}
