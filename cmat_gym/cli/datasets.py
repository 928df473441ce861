"""The official data of the worlds: public homes, licences, checksums, and where each file goes in the data folder.

Checksums come from copies that the loaders' own tests are run on, or, for ALFWorld and WebShop, from what several
independent projects publish for the same files. A file without one is trusted on first use: `data get` records its
hash, and every later copy must have the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from cmat_gym.core.errors import choose

__all__ = ["DATASETS", "DataFile", "Dataset", "find_dataset"]


@dataclass(frozen=True)
class DataFile:
    """One file.

    Attributes:
        path: Where it goes, below the data folder.
        url: Its public home.
        sha256: Its hash; None where none is known.
        bytes: Its size; None where it is not known.
        unpack: For an archive, the folder below the data folder that its content goes to.
    """

    path: str
    url: str
    sha256: str | None = None
    bytes: int | None = None
    unpack: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Files that are fetched together.

    Attributes:
        name: What `data get` takes.
        about: What it is.
        licence: Its licence, and what that asks for.
        use: How a world opens it; `{folder}` stands for the data folder.
        files: The files.
    """

    name: str
    about: str
    licence: str
    use: str
    files: tuple[DataFile, ...]

    @property
    def bytes(self) -> int | None:
        """Size of all files; None where one is not known."""
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def _agentbench(commit: str, path: str) -> str:
    return f"https://raw.githubusercontent.com/THUDM/AgentBench/{commit}/{path}"


def _drive(identity: str) -> str:
    return f"https://drive.usercontent.google.com/download?id={identity}&export=download&confirm=t"


def _openke(commit: str, name: str) -> str:
    return f"https://raw.githubusercontent.com/thunlp/OpenKE/{commit}/benchmarks/FB15K237/{name}"


_DEV = "f36853f68ace51dd3168478f975ec09be22d96e3"
_STD = "4aa57c1d7f32ff4c391eaa14f1f35da22cdefaf4"
_FC = "5bf4eb27f05bc50ca97dce45f0693c6018875c25"
_APACHE = "Apache-2.0 (github.com/THUDM/AgentBench)"
_KG = "src/server/tasks/knowledgegraph/ontology"
_MIND2WEB = "https://huggingface.co/datasets/osunlp/Mind2Web/resolve/main/data/train"
_SHOP_LICENCE = "MIT (github.com/princeton-nlp/WebShop); product texts were scraped from a shop: do not pass them on"
_SHOP_PEOPLE = DataFile(
    "webshop/items_human_ins.json",
    _drive("14Kb5SPBk_jfdLZ_CDBNitW98QLDlKR5O"),
    "cf78667548a71786e1d9049c24b802e48e1084ad4bb021cae56ce1f6d96954a3",
    5_137_548,
)

DATASETS = (
    Dataset(
        "os/agentbench",
        "AgentBench's shell tasks: 26 for development, 1,000 for training",
        _APACHE,
        "gym.make('cmat/OS-v0', source='{folder}/os/agentbench', split='dev')",
        (
            DataFile(
                "os/agentbench/dev.json",
                _agentbench(_DEV, "data/os_interaction/data/dev.json"),
                "c5554248e6c1cb606e27d2f81025b751a490c9a5ccd37aabf4c86879a52e9274",
                16_209,
            ),
            DataFile(
                "os/agentbench/training.json",
                _agentbench(_FC, "data/os_interaction/train_0317/training.json"),
                "35cbd6cc07646eab32161d64260bbcc4d0cab145a7caae69c236320a9d7c7685",
                1_664_159,
            ),
        ),
    ),
    Dataset(
        "db/agentbench",
        "DBBench: 60 tasks for development, and the 300 test tasks of version 0.2",
        f"{_APACHE}; table contents are from Wikipedia-based sets, share-alike (CC-BY-SA-4.0)",
        "gym.make('cmat/DB-v0', source='{folder}/db/agentbench', split='dev')",
        (
            DataFile(
                "db/agentbench/dev.jsonl",
                _agentbench(_DEV, "data/dbbench/dev.jsonl"),
                "eb941c58a7a5651357b19e46aa05070f6cd5a7d83ce70cefd24aa3581e1e1130",
                188_018,
            ),
            DataFile("db/agentbench/standard.jsonl", _agentbench("v0.2", "data/dbbench/standard.jsonl")),
        ),
    ),
    Dataset(
        "kg/agentbench",
        "AgentBench's questions to Freebase (development, test, 1,214 for training) and its vocabulary",
        f"{_APACHE}; the questions derive from GrailQA, CWQ, GraphQuestions and WebQSP",
        "gym.make('cmat/KG-v0', source='{folder}/kg/agentbench', …)  # needs a graph: see docs/worlds/kg.md",
        (
            DataFile(
                "kg/agentbench/dev.json",
                _agentbench(_STD, "data/knowledgegraph/dev.json"),
                "5e28f8504ef98c513fa90090fc9543dbad54990723cc28854e2ba3ce1536d994",
                24_729,
            ),
            DataFile("kg/agentbench/std.json", _agentbench(_STD, "data/knowledgegraph/std.json")),
            DataFile(
                "kg/agentbench/kg_rl_all.json",
                _agentbench(_FC, "data/knowledgegraph/kg_rl_all.json"),
                "54a1d671f7669898ddc195638efccdd96f3c3baf2fc644d88bcabd31a0d885f4",
                1_883_664,
            ),
            DataFile(
                "kg/agentbench/ontology/vocab.json",
                _agentbench(_STD, f"{_KG}/vocab.json"),
                "6a178fa7f348631d816e37a384a89039b6ef1903c8797c4a20fbe97074ba6453",
                1_137_427,
            ),
            DataFile(
                "kg/agentbench/ontology/fb_roles",
                _agentbench(_STD, f"{_KG}/fb_roles"),
                "052ec0a1083b5cf83cfbf7f56f5d864e363382e3210e9a482da6e52ca37392ba",
                1_902_419,
            ),
            DataFile(
                "kg/agentbench/ontology/fb_types",
                _agentbench("9b7a46c0cc7548d46ef92ced12e8565abd8374e0", f"{_KG}/fb_types"),
                "d7ccacde076ddb2f71de450c5670e279ea0ad4e73d274d08af9e237c765fa8ea",
                1_363_296,
            ),
            DataFile(
                "kg/agentbench/ontology/reverse_properties",
                _agentbench(_STD, f"{_KG}/reverse_properties"),
                "8c120e0f7ee074fa528f4732ede588597a9c3df767a59b7c8e02114ed39b35ac",
                911_623,
            ),
        ),
    ),
    Dataset(
        "kg/fb15k237",
        "FB15k-237, a part of Freebase: 310,116 facts, with names",
        "Freebase facts CC-BY; OpenKE's files carry no licence of their own; names from kg-bert, Apache-2.0",
        "gym.make('cmat/KG-v0', graph='{folder}/kg/fb15k237')",
        (
            DataFile(
                "kg/fb15k237/train2id.txt",
                _openke("6eb892fb7289d98117baf93e9921dc533f40822d", "train2id.txt"),
                "5f44223a02b39b8e398e77a787feb4f06e9ffccf1ae87047bbf38fcc8cc08bd2",
                3_416_118,
            ),
            DataFile(
                "kg/fb15k237/valid2id.txt",
                _openke("923d6b326f5f184a5279917536f2c0c6bdce61aa", "valid2id.txt"),
                "7d21e778de4369d5348f5cff23a08dc847ab5fce4b5f07c80113297d2dc60a86",
                222_093,
            ),
            DataFile(
                "kg/fb15k237/test2id.txt",
                _openke("3e3c7a3b71ba11ba8e1094dd3b1255040ab0efc0", "test2id.txt"),
                "6027e649c1716ac9c1ef2f24672a416aa277aff3e14850ef915ac5a21df70417",
                259_074,
            ),
            DataFile(
                "kg/fb15k237/entity2id.txt",
                _openke("75e1b4db83d5b7f4b25546b4213cba8bed4b097c", "entity2id.txt"),
                "e4546cfdcd0b9bd0151cc0f6ef2edee29eb2bb55a3d47e668194999c036fba0d",
                233_099,
            ),
            DataFile(
                "kg/fb15k237/relation2id.txt",
                _openke("3b7f0b19441f11d6bc9331e8d1001a056f759f00", "relation2id.txt"),
                "fefd26d6cd5ff9d360efe5360c11bf112d019f42b3acf165a5c04aa2b66a42d9",
                15_764,
            ),
            DataFile(
                "kg/fb15k237/entity2text.txt",
                "https://raw.githubusercontent.com/yao8839836/kg-bert/master/data/FB15k-237/entity2text.txt",
                "16beedcfad3d32696e8b0b98cfa0f5eeb144f5142225f227a64fd9ce37447da5",
                392_383,
            ),
        ),
    ),
    Dataset(
        "alfworld/games",
        "ALFWorld's games of 2024 (version 0.4.2, `move` grammar), training and both validation splits",
        "MIT (github.com/alfworld/alfworld); the scenes derive from ALFRED, MIT",
        "gym.make('cmat/ALFWorld-v0', source='{folder}/alfworld/games', split='valid_unseen')",
        (
            DataFile(
                "alfworld/json_2.1.3_tw-pddl.zip",
                "https://github.com/alfworld/alfworld/releases/download/0.4.2/json_2.1.3_tw-pddl.zip",
                "5df77ea759f2211a4106082839ddbbb790f1ba4e7d097ed732cf453f72aa36cf",
                36_507_267,
                unpack="alfworld/games",
            ),
        ),
    ),
    Dataset(
        "alfworld/agentbench",
        "AgentBench's lists of games: development, test, and those for training and validation",
        _APACHE,
        "gym.make('cmat/ALFWorld-v0', source='{folder}/alfworld/agentbench/dev.json')",
        (
            DataFile(
                "alfworld/agentbench/dev.json",
                _agentbench(_DEV, "data/alfworld/dev.json"),
                "20b8f28be96aa2c011edd5a43653c5ee8089d51442e42cc8f361ce9866cc6ce0",
                2_644,
            ),
            DataFile(
                "alfworld/agentbench/train_valid.json",
                _agentbench(_FC, "data/alfworld/train_valid.json"),
                "504c5725346d7588b1b1a5afe4b1a18c2d5cf5f9520a212c9fd45cc6c42f5bf8",
                373_390,
            ),
            DataFile(
                "alfworld/agentbench/standard.json",
                _agentbench("9b7a46c0cc7548d46ef92ced12e8565abd8374e0", "data/alfworld/standard.json"),
            ),
        ),
    ),
    Dataset(
        "webshop/small",
        "WebShop with 1,000 products, and people's instructions",
        _SHOP_LICENCE,
        "gym.make('cmat/WebShop-v0', source='{folder}/webshop')",
        (
            DataFile(
                "webshop/items_shuffle_1000.json",
                _drive("1EgHdxQ_YxqIQlvvq5iKlCrkEKR6-j0Ib"),
                "30a4765c3a327af72d9a9a95a6b2486d516f0fa1d3ecd83681901ce82a21b269",
                4_467_013,
            ),
            DataFile(
                "webshop/items_ins_v2_1000.json",
                _drive("1IduG0xl544V_A_jv3tHXC0kyFi7PnyBu"),
                "f88a36314a397b53b3d9c3fa5878e5f7b26d35019a51ec83fbedeca61a948f6f",
                147_099,
            ),
            _SHOP_PEOPLE,
        ),
    ),
    Dataset(
        "webshop/full",
        "WebShop with all 1.18 million products, and people's instructions",
        _SHOP_LICENCE,
        "gym.make('cmat/WebShop-v0', source='{folder}/webshop/full')",
        (
            DataFile(
                "webshop/full/items_shuffle.json",
                _drive("1A2whVgOO0euk5O13n2iYDM0bQRkkRduB"),
                "2ef591d65df3af89e972ab72468eb82cbf124d876552d9f3678667edd620a6c8",
                5_479_720_229,
            ),
            DataFile(
                "webshop/full/items_ins_v2.json",
                _drive("1s2j6NgHljiZzQNL3veZaAiyW_qDEgBNi"),
                "1d36af476bdb8f82a5da62bd8acdabe54cd8de2fa84010d37da5c4890feb447e",
                186_295_270,
            ),
            DataFile("webshop/full/items_human_ins.json", _SHOP_PEOPLE.url, _SHOP_PEOPLE.sha256, _SHOP_PEOPLE.bytes),
        ),
    ),
    Dataset(
        "mind2web/train",
        "Mind2Web's training tasks; its test set is a protected archive that its authors ask to keep so",
        "CC-BY-4.0 (huggingface.co/datasets/osunlp/Mind2Web)",
        "gym.make('cmat/Mind2Web-v0', source='{folder}/mind2web', split='train')",
        tuple(DataFile(f"mind2web/train/train_{n}.json", f"{_MIND2WEB}/train_{n}.json") for n in range(11)),
    ),
    Dataset(
        "mind2web/autowebbench",
        "AutoWebBench: 349 single steps in English",
        "Apache-2.0 (github.com/THUDM/AutoWebGLM)",
        "gym.make('cmat/Mind2Web-v0', source='{folder}/mind2web/autowebbench_en_ind.json', split='test')",
        (
            DataFile(
                "mind2web/autowebbench_en_ind.json",
                "https://raw.githubusercontent.com/THUDM/AutoWebGLM/main/autowebbench/en/ind/test.json",
                "10fe4c28374cb21e44dd976a71049921b474bd8ad834b284a0a8d8ee76cc248c",
                1_622_613,
            ),
        ),
    ),
    Dataset(
        "agentbench",
        "AgentBench version 0.2 as a checkout: the 144 shell tasks of its test set with their scripts, and the rest",
        _APACHE,
        "gym.make('cmat/OS-v0', source='{folder}/agentbench/AgentBench-0.2', split='test')",
        (
            DataFile(
                "agentbench/v0.2.tar.gz",
                "https://github.com/THUDM/AgentBench/archive/refs/tags/v0.2.tar.gz",
                unpack="agentbench",
            ),
        ),
    ),
)


def find_dataset(name: str) -> Dataset:
    """The data set of a name.

    Raises:
        UnknownNameError: There is none; the message lists them.
    """
    wanted = choose("data set", name, [dataset.name for dataset in DATASETS])
    return next(dataset for dataset in DATASETS if dataset.name == wanted)
