"""The rooms of the package and the arrows between them: imports go one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"hslm_tf": ROOT / "hslm_tf", "hslm_tf.layers": ROOT / "layers"}
FOLDERS["hslm_tf.training"] = ROOT / "training"

# What each room may import besides itself; a command may import everything. A room's `__main__` is
# a command, too.
BASE = {"config", "data", "fingerprint", "text", "layers", "training"}
MAY_IMPORT = {
    "config": set(),
    "command_line": set(),
    "fingerprint": {"config"},
    "presets": {"config"},
    "layers": set(),
    "training": {"layers"},
    "data": set(),
    "text": {"data"},
    "images": {"data", "command_line", "config", "fingerprint"},
    "checks": {"config", "data", "text", "images", "command_line"},
    "models": {*BASE, "presets", "command_line"},
    "evaluation": {*BASE, "models"},
    "retrieval": {*BASE, "models", "images", "command_line"},
    "serving": {*BASE, "models", "evaluation", "retrieval", "command_line"},
    "report": {*BASE, "models", "evaluation", "retrieval", "presets", "images", "command_line"},
    "runs": {
        *BASE,
        *("models", "evaluation", "retrieval", "serving", "report", "presets", "images"),
        "command_line",
    },
    "beam": {*BASE, "models", "retrieval", "serving", "images", "runs", "command_line"},
}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for package, folder in FOLDERS.items():
        for file in folder.rglob("*.py"):
            parts = file.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = file
    return found


MODULES = modules()


class _WithoutTyping(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.If | None:
        return None if getattr(node.test, "id", "") == "TYPE_CHECKING" else node


def imports_of(name: str) -> set[str]:
    """Modules of the package that a module imports, anywhere but for type checkers."""
    found = set()
    for node in ast.walk(_WithoutTyping().visit(ast.parse(MODULES[name].read_text("utf-8")))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports say hslm_tf.…"
            # `from package import module` imports the module, `from module import name` does not.
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & set(MODULES)) or {node.module}
    return {target for target in found if target in MODULES} - {name}


def room_of(name: str) -> str:
    return name.split(".")[1] if "." in name else "hslm_tf"


def is_command(name: str) -> bool:
    top = name.count(".") == 1 and MODULES[name].name != "__init__.py"
    return name.endswith(".__main__") or (top and room_of(name) not in MAY_IMPORT)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_arrows_go_one_way(name):
    room = room_of(name)
    if is_command(name) or name == "hslm_tf":
        return
    for target in imports_of(name):
        assert room_of(target) in {room, "hslm_tf", *MAY_IMPORT[room]}, f"{name} imports {target}"


def test_commands_can_be_run():
    commands = {name for name in MODULES if is_command(name)}
    assert {"hslm_tf.train", "hslm_tf.report.__main__"} <= commands
    for name in commands:
        text = MODULES[name].read_text("utf-8")
        assert '\nif __name__ == "__main__":\n    main()\n' in text, name


def test_nothing_imports_a_command_of_a_room():
    for name in MODULES:
        assert not [target for target in imports_of(name) if target.endswith(".__main__")], name


def test_no_circles():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for target in sorted(imports_of(name)):
                visit(target, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def test_training_and_layers_open_no_file():
    for name, file in MODULES.items():
        if room_of(name) in ("layers", "training"):
            calls = [
                node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
            ]
            names = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
            assert "open" not in names, name


def test_imports_are_seen():
    assert "hslm_tf.runs.run_directory" in imports_of("hslm_tf.train")
    assert "hslm_tf.models.networks" in imports_of("hslm_tf.models.hslm")
    assert "hslm_tf.runs.experiment" in imports_of("hslm_tf.train"), "imports in functions count"
