"""Two processes with half a batch each learn exactly what one process learns from the whole."""

import itertools
import subprocess
import sys

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file
from tiny_for_tests import TINY_ENCODER

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.schedule import BatchSchedule
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.run import RunFolder
from ssl_sbir.seeding import seed_everything
from ssl_sbir.training.loop import DeviceConfig, _check_even_shares, _LossModule, _warn_if_inexact
from ssl_sbir.training.pipeline import is_first_process
from ssl_sbir.training.recipe import EXACT_DISTRIBUTED

SMALL = {
    "barlow": {"projection_dim": 16},
    "byol": {"projection_dim": 16, "hidden_dim": 16},
    "dcl": {},
    "dino": {
        "hidden_dim": 16,
        "bottleneck_dim": 16,
        "prototypes": 16,
        "n_local_crops": 0,
        "freeze_prototypes": 0,
    },
    "moco": {"queue_size": 16},
    "nnclr": {"queue_size": 16},
    "simclr": {},
    "simsiam": {"projection_dim": 16, "hidden_dim": 8},
    "swav": {"queue_size": 8, "prototypes": 16, "freeze_prototypes": 0, "queue_start": 0.2},
    "vicreg": {"projection_dim": 16},
}


class Turns:
    """Two fixed views of every image, in turn, whichever process asks."""

    def __init__(self):
        self.turn = itertools.count()

    def begin_step(self, batch):
        pass

    def view_batch(self, batch):
        return self(batch.image, batch.domain)

    def __call__(self, image, domain):
        return image.flip(-1) * 0.8 if next(self.turn) % 2 else image


def learnt(fabric, folder, out):
    """Takes two steps of every method on this process's share; the first writes what came of it to `out`."""
    torch.set_num_threads(1)
    manifest = open_data(f"folder:{folder}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)
    for name, settings in SMALL.items():
        tensors = steps_of(fabric, name, settings, data)
        if fabric.is_global_zero:
            save_file(tensors, out / f"{name}.safetensors")
    seen = remembered(fabric, data)
    save_file({"seen": seen}, out / f"selflabel-{fabric.global_rank}.safetensors")
    fabric.barrier()


def steps_of(fabric, name, settings, data):
    kind = recipes.load_recipe(name)
    recipe = kind(kind.Config(**settings, batch={"sketches": 8, "photos": 8}))
    recipe.augment = Turns()
    seed_everything(0)
    model = recipe.build(load_encoder("timm:test_vit", size=32, pretrained=False), ())
    recipe.prepare(model, data)
    model.eval()  # batch norms keep to fixed statistics: on processors they can't be shared between processes
    steps, optimizer = fabric.setup(
        _LossModule(recipe, model),
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05),
    )
    schedule, found = BatchSchedule.from_training_set(data, 8, 8, seed=0), {}
    for step in range(2):
        recipe.progress = step / 2
        batch = data.read_batch(schedule.rows_of_step(step)[fabric.global_rank :: fabric.world_size])
        (term,) = steps(batch, fabric.device).values()
        fabric.backward(term)
        found[f"loss {step}"] = fabric.all_reduce(term.detach(), reduce_op="mean").reshape(1)
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found[f"gradient {step}"] = torch.cat(gradients).clone()
        optimizer.step()
        optimizer.zero_grad()
        recipe.after_step(model, (step + 1) / 2)
    return found | {f"state {key}": value.float().clone() for key, value in model.state_dict().items()}


def remembered(fabric, data):
    """What selflabel keeps of every image after a step, by which sketches are shared out."""
    kind = recipes.load_recipe("selflabel")
    recipe = kind(kind.Config(teacher_size=32, num_clusters=6, embedding_dim=32))
    recipe.augment = Turns()
    seed_everything(0)
    model = recipe.build(load_encoder("timm:test_vit", size=32, pretrained=False), ())
    recipe.prepare(model, data)
    batch = data.read_batch(
        BatchSchedule.from_training_set(data, 8, 8, seed=0).rows_of_step(0)[
            fabric.global_rank :: fabric.world_size
        ]
    )
    recipe.loss(model.eval(), batch.to("cpu"))
    return model.last_embeddings


@pytest.fixture(scope="module")
def both(shapes, tmp_path_factory):
    """Folder of what one process learnt, and of what two did."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    learnt(Fabric(accelerator="cpu", devices=1), shapes, one)
    Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn").launch(learnt, shapes, two)
    return one, two


@pytest.mark.parametrize("name", sorted(SMALL))
def test_loss_gradients_and_state_equal_those_of_one_process(name, both):
    one, two = (load_file(folder / f"{name}.safetensors") for folder in both)
    assert one.keys() == two.keys()
    assert one["gradient 0"].norm() > 1e-3
    bank = [key for key in one if "queue" in key or "bank" in key]
    for key in one:
        if key in bank:  # the same entries, in the order in which processes were asked
            one[key], two[key] = (t[key].reshape(-1, t[key].shape[-1]).sort(0).values for t in (one, two))
        assert (two[key] - one[key]).norm() <= 1e-4 * one[key].norm() + 1e-6, key


def test_every_process_remembers_the_codes_of_all_images_of_a_step(both):
    one, two = both
    (whole,) = (load_file(file)["seen"] for file in one.glob("selflabel-*"))
    shares = [load_file(file)["seen"] for file in two.glob("selflabel-*")]
    assert whole.any(1).sum() == 16
    assert len(shares) == 2
    for seen in shares:
        torch.testing.assert_close(seen, whole, rtol=1e-4, atol=1e-6)


def test_every_method_that_claims_it_was_compared():
    kinds = [recipes.load_recipe(name) for name in recipes.recipe_names()]
    assert {kind.name for kind in kinds if kind.distributed == EXACT_DISTRIBUTED} == set(SMALL)


def test_a_batch_that_processes_cannot_share_is_refused(shapes):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)
    _check_even_shares(BatchSchedule.from_training_set(data, 8, 8, 0), 2)
    with pytest.raises(ConfigError, match=r"2 processes can't share 7 sketch images evenly"):
        _check_even_shares(BatchSchedule.from_training_set(data, 7, 8, 0), 2)


def test_a_method_that_computes_something_else_on_two_processes_says_so(capsys):
    for name, processes in (("crossmodal", 1), ("byol", 2)):
        kind = recipes.load_recipe(name)
        _warn_if_inexact(kind(kind.Config()), processes)
    assert not capsys.readouterr().err
    kind = recipes.load_recipe("crossmodal")
    _warn_if_inexact(kind(kind.Config()), 2)
    assert "warning: crossmodal on 2 processes: each process computes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
    ],
)
def test_only_the_first_process_makes_the_run_folder(told, first, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert is_first_process(DeviceConfig(devices=2)) is first
    assert is_first_process(
        DeviceConfig()
    )  # four runs of one device each under one scheduler are four first ones


def test_two_processes_of_the_command_leave_one_run_also_where_a_tower_sees_nothing(shapes, tmp_path):
    settings = (*TINY_ENCODER,
                "encoder.towers=separate", "batch.sketches=0", "batch.photos=8", "optim.max_steps=3")  # fmt: skip
    asked = [part for setting in settings for part in ("--set", setting)]
    where = ("--data", f"folder:{shapes}", "--out", "run", "--accelerator", "cpu", "--devices", "2")
    command = [sys.executable, "-m", "ssl_sbir", "pretrain", "simclr", *where, *asked]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("next: ssl-sbir finetune") == 1
    run = RunFolder.open(tmp_path / "run")
    assert run.is_finished
    assert [line["step"] for line in run.read_metrics()] == [3]
