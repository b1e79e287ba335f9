"""What Prometheus reads."""

from bursar.wire.exposition import Metric, Sample, exposition


def test_names_labels_and_numbers() -> None:
    metrics = [
        Metric("a_total", "counter", "How\nmany.", [Sample(3), Sample(0.25, {"who": 'a "b" \\ c\nd', "x": "é"})]),
        Metric("b", "gauge", "None yet.", []),
    ]
    assert exposition(metrics).decode() == (
        "# HELP a_total How\\nmany.\n# TYPE a_total counter\na_total 3\n"
        'a_total{who="a \\"b\\" \\\\ c\\nd",x="é"} 0.25\n'
        "# HELP b None yet.\n# TYPE b gauge\n"
    )
