"""Mistakes on the command line end in one sentence that names the key and the cure."""

import subprocess
import sys

import pytest

from slackoff.cli.hydra_app import overrides_last, without_dry_run


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["+experiment=patchcuont", "-m"], ["no experiment 'patchcuont'", "did you mean 'patchcount'"]),
        (["network=unte"], ["no network 'unte'", "did you mean 'unet'"]),
        (["network=3"], ["no network '3'"]),
        (["network="], ["no network ''"]),
        (["+experiment=1e5", "-m"], ["no experiment '1e5'"]),
        (["network.widht=3"], ["no config key 'network.widht'", "did you mean 'network.width'"]),
        (["netwrok=unet"], ["no config key 'netwrok'", "did you mean 'network'"]),
        (["hydra.launcher.slot=2"], ["no config key 'hydra.launcher.slot'", "did you mean 'hydra.launcher.slots'"]),
        (["protocol=full_y"], ["write protocol@evaluation.protocol=..."]),
        (["protocol@evaluation.protocl=full_y"], ["write protocol@evaluation.protocol=..."]),
        (["weighting=gb"], ["write weighting@task.weighting=..., and task=multitask", " as well"]),
        (["weighting=gb", "task=multitask"], ["stands at task.weighting: write weighting@task.weighting=..."]),
        (["experiment=patchcount"], ["write +experiment=... to choose"]),
        (["size=huge"], ["no size 'huge'", "laptop"]),
        (["background=folder"], ["background.root is not given"]),
        (["background=folder", "background.root=nowhere"], ["nowhere", "background.root"]),
        (["evaluation=rain100l", "evaluation.root=nowhere"], ["nowhere", "evaluation.root"]),
        (["labelled=pairs"], ["labelled.root is not set"]),
        (["labelled.root=PAIRS"], ["no config key 'labelled.root'", "choose labelled=pairs or "]),
        (["labelled=pairs", "labelled.rot=PAIRS"], ["did you mean 'labelled.root'"]),
        (["labelled=pears"], ["no labelled 'pears'", "did you mean 'pairs'"]),
        (["unlabelled=folder", "unlabelled.root=nowhere"], ["nowhere", "unlabelled.root"]),
        (["unlabelled=rest"], ["unlabelled=rest", "labelled.share=0.1"]),
        (["+schedule.steps=5"], ["schedule.steps has a value already: write schedule.steps=... without the +"]),
        (["start_from=FILE"], ["write +start_from=... to add it"]),
        (["+start_from=nowhere.pth"], ["start_from=nowhere.pth", "give a weight file"]),
        (["evaluation.protocol.thresholds=[300]"], ["evaluation.protocol.thresholds"]),
        (["background.patch_count="], ["background.patch_count"]),
        (["runs=/proc/none"], ["/proc/none"]),
        (["+experiment=category", "-m"], ["roots.celeba=data/celeba does not exist"]),
        (["+experiment=moss_ablation", "-m"], ["roots.sirr=data/sirr does not exist"]),
        (["unlabelled=synthesised"], ["task=supervised does not use unlabelled images: leave out unlabelled=... or"]),
        (["task=semi_supervised"], ["task=semi_supervised has no unlabelled images: name a folder of rainy photos"]),
        (
            ["task=semi_supervised", "task.supervised=half"],
            ["task.supervised=half is no length: write it as"],
        ),
        (
            ["network=unet_tiny", "task=rcdnet"],
            ["task.loss RCDNetLoss needs a network that gives a rain layer"],
        ),
    ],
)
def test_a_mistake_is_one_sentence(arguments, parts, mistake):
    sentence = mistake(*arguments)
    assert [part for part in parts if part not in sentence] == []


def test_overrides_may_stand_on_both_sides_of_a_flag():
    assert overrides_last(["+experiment=a", "-m", "b=1", "--cfg", "job"]) == [
        "-m",
        "--cfg",
        "job",
        "+experiment=a",
        "b=1",
    ]


def test_a_dry_run_is_an_override_of_the_launcher():
    assert overrides_last(without_dry_run(["+experiment=a", "--dry-run", "-m"])) == [
        "-m",
        "+experiment=a",
        "hydra.launcher.dry_run=true",
    ]
    assert without_dry_run(["-m", "b=1"]) == ["-m", "b=1"]


def test_ctrl_c_while_the_program_is_still_being_imported_is_one_sentence():
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "class Late:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'slackoff.cli.app':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Late())\n"
        "from slackoff.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "stopped before anything was begun\n")
