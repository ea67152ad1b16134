"""What a classifier takes for what: accuracy by class before and after training, and the confusion matrix."""

from __future__ import annotations

from mcutrain.episode.record import Confusion, EpisodeRecord
from mcutrain.report import wording
from mcutrain.report.figures import Figure, Json, colour, fill, label, layout, rows

# Cells of larger matrices have no room for their counts.
_MOST_WRITTEN = 12


def class_figures(record: EpisodeRecord, key: str) -> list[Figure]:
    """The figures of a record that has a confusion matrix, their keys starting with key; else none."""
    found = {"before": record.confusion_before, "after": record.confusion_after}
    matrices = {which: matrix for which, matrix in found.items() if matrix is not None}
    if not matrices:
        return []
    names = class_names(record)
    return [_by_class(matrices, names, key), _matrix(matrices, names, key)]


def class_names(record: EpisodeRecord) -> list[str]:
    """A name for each class of the matrix: its number where it has none."""
    matrix = record.confusion_after or record.confusion_before or ()
    names = [wording.printable(name) for name in record.class_names]
    return [names[i] if i < len(names) else str(i) for i in range(len(matrix))]


def accuracy_of_class(matrix: Confusion, number: int) -> float | None:
    """The share of a class's samples that is predicted right; None where the test set has none of it."""
    total = sum(matrix[number])
    return matrix[number][number] / total if total else None


def _by_class(matrices: dict[str, Confusion], names: list[str], key: str) -> Figure:
    data: list[Json] = []
    offsets = {"before": -0.2, "after": 0.2} if len(matrices) == 2 else dict.fromkeys(matrices, 0.0)
    for which, matrix in matrices.items():
        known = [(i, value) for i in range(len(names)) if (value := accuracy_of_class(matrix, i)) is not None]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": f"{which} training",
                "x": [100 * value for _, value in known],
                "y": [i + offsets[which] for i, _ in known],
                "width": 0.38,
                "marker": fill(which),
                "hoverinfo": "text",
                "hovertext": [
                    f"{label(names[i])} {which} training: {matrix[i][i]:,} of {wording.plural(sum(matrix[i]), 'test sample')} right "
                    f"({100 * value:.1f} %)"
                    for i, value in known
                ],
            }
        )
    last = list(matrices)[-1]
    values = [(name, accuracy_of_class(matrices[last], i)) for i, name in enumerate(names)]
    said = "; ".join(f"{name} {100 * value:.1f} %" for name, value in values if value is not None)
    return Figure(
        f"{key}-classes",
        "Test accuracy by class",
        "The share of each class's test samples that is predicted right.",
        f"Test accuracy by class {last} training: {said}.",
        110 + (26 if len(names) <= 20 else 16) * len(names),
        data,
        layout(
            xaxis={"range": [0, 101], "dtick": 25, "ticksuffix": " %"},
            yaxis=rows([label(name, 14) for name in names]),
        )
        | {"bargap": 0.15},
    )


def _matrix(matrices: dict[str, Confusion], names: list[str], key: str) -> Figure:
    shown = [label(name, 12) for name in names]
    ticks: Json = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": shown, "showgrid": False}
    step = -(-len(names) // 40)
    if step > 1:
        ticks |= {"tickvals": list(range(0, len(names), step)), "ticktext": shown[::step]}
    last = list(matrices)[-1]
    data = [_heat(matrix, names, which) | {"visible": which == last} for which, matrix in matrices.items()]
    right = sum(matrices[last][i][i] for i in range(len(names)))
    total = sum(map(sum, matrices[last]))
    worst = max(
        ((matrices[last][i][j], i, j) for i in range(len(names)) for j in range(len(names)) if i != j),
        default=(0, 0, 0),
    )
    said = f" Most often wrong: {names[worst[1]]} taken for {names[worst[2]]}, {worst[0]:,} times." if worst[0] else ""
    extra: Json = {}
    if len(matrices) == 2:
        buttons = [
            {"label": f"{which} training", "method": "restyle", "args": [{"visible": [w == which for w in matrices]}]}
            for which in matrices
        ]
        place = {"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "pad": {"l": 0, "b": 4}}
        look = {"bgcolor": colour("surface"), "bordercolor": colour("faint"), "font": {"color": colour("text")}}
        extra = {
            "updatemenus": [
                {"type": "buttons", "direction": "right", "showactive": False, "active": 1, "buttons": buttons}
                | place
                | look
            ]
        }
    longest = max(map(len, shown))
    return Figure(
        f"{key}-confusion",
        "Confusion matrix",
        "Test samples by their true class (rows) and the class that is predicted (columns); the darker, the larger the share of the true "
        f"class. Shown at first: {last} training.{said}",
        f"Confusion matrix {last} training: {right:,} of {total:,} test samples on the diagonal.{said}",
        max(340, min(760, 140 + 5 * longest + (28 if len(names) <= 20 else 14) * len(names))),
        data,
        layout(
            xaxis={**ticks, "title": {"text": "predicted"}, "side": "bottom", "zeroline": False, "ticks": ""},
            yaxis={**ticks, "title": {"text": "true"}, "autorange": "reversed", "zeroline": False, "ticks": ""},
        )
        | extra,
    )


def _heat(matrix: Confusion, names: list[str], which: str) -> Json:
    totals = [sum(row) for row in matrix]
    shares = [[cell / total if total else 0.0 for cell in row] for row, total in zip(matrix, totals, strict=True)]
    trace: Json = {
        "type": "heatmap",
        "name": f"{which} training",
        "z": [[round(share, 4) for share in row] for row in shares],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, colour("surface")], [0.02, colour("heat-low")], [1, colour("heat-high")]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hoverinfo": "text",
        # Of large matrices most cells are empty, and their texts would be most of the page.
        "hovertext": [
            [
                ""
                if not cell and len(names) > _MOST_WRITTEN
                else f"true {label(names[i])}, predicted {label(names[j])}<br>{which} training: {cell:,} of {totals[i]:,} "
                f"({100 * shares[i][j]:.1f} %)"
                for j, cell in enumerate(row)
            ]
            for i, row in enumerate(matrix)
        ],
    }
    if len(names) <= _MOST_WRITTEN:
        trace |= {"text": [[str(cell) if cell else "" for cell in row] for row in matrix], "texttemplate": "%{text}"}
    return trace
