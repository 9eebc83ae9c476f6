# SPDX-License-Identifier: Apache-2.0
"""The machine on which documents are read is what it says; and what documents say of propagation is so."""
import pytest
from blocks import DOCUMENTS, ROOT, Block, blocks_of
from stand_ins import STAND_INS, Refused


def test_it_reaches_nothing_but_itself(terminal):
    code, said = terminal.run("ip -o link | grep -vc ' lo:'; getent hosts huggingface.co; curl -sI https://huggingface.co/api/models/x")
    assert said.startswith("0\n127.0.0.1") and "HTTP/" in said, said
    code, said = terminal.run("id -u; touch /etc/x 2>&1; sudo id -u")
    assert said.split()[0] == "4001" and "denied" in said and said.split()[-1] == "0"


def test_a_command_that_fails_is_noticed(terminal):
    block = Block(ROOT / "README.md", 1, "sh", "hffs status --no-such-flag")
    code, said = terminal.type([block])
    assert code == 2 and "@@@ README.md:1" in said


@pytest.mark.parametrize("words", [
    "docker run --no-such image", "docker run -v /mnt:/mnt:rshaved image true", "docker run -v /no/such:/mnt image true",
    "docker walk image", "docker run -v /mnt:/mnt:rshared hffs", "podman run --cap-add ALL image true",
    "docker run --mount type=bind,source=/mnt,target=/mnt,propagation=rslave image true", "kubectl frobnicate",
    "kubectl rollout status pod/x", "meson test --suite no-such", "systemctl start sshd", "journalctl", "apt isntall x",
    "sbatch", "scripts/test no-such-suite", "scripts/demo --no-such"])
def test_stand_ins_refuse_what_the_programs_would(words):
    name, *rest = words.split()
    with pytest.raises(Refused):
        STAND_INS[name][1](rest)


def test_each_stand_in_is_needed():
    """The list holds nothing that no document types."""
    text = "\n".join(block.text for document in DOCUMENTS for block in blocks_of(document) if block.language == "sh")
    assert [name for name in STAND_INS if name not in text] == []


# Each a container that began while the first daemon ran: what does it see of the second?
@pytest.mark.parametrize("volume_, sees", [("/mnt:/mnt:rslave", True), ("/mnt:/mnt", False), ("/mnt/hf:/mnt/hf:rslave", False)])
def test_a_mount_that_is_made_anew(terminal, volume_, sees):
    waits = "touch /scratch/began; while ! [ -e /scratch/go ]; do sleep 0.05; done; cat /mnt/hf/version.txt"
    code, said = terminal.run(f"""sudo systemctl start hffs
        (docker run --rm -v {volume_} debian:12-slim sh -c '{waits}' >/scratch/said 2>&1; echo $? >/scratch/code) &
        while ! [ -e /scratch/began ]; do sleep 0.05; done
        sudo kill -9 $(hffs status /mnt/hf --json | jq .pid)
        while hffs status /mnt/hf >/dev/null 2>&1; do sleep 0.05; done
        sudo systemctl start hffs && touch /scratch/go && wait; cat /scratch/said; echo; cat /scratch/code""")
    assert said.split()[-1] == ("0" if sees else "1"), said
    assert ("1\n0" in said) == sees and code == 0, said


def test_who_is_who_in_a_container_of_ones_own(terminal):
    """Rootless: root in there is the user, who sees his own mount; root of the machine does not, without --allow-other."""
    code, said = terminal.run("mkdir ~/hf && hffs mount ~/hf && unshare -U --map-root-user sh -c 'id -u; cat ~/hf/version.txt'; echo")
    assert (code, said) == (0, "0\n1\n")
    code, said = terminal.run("sudo cat /home/you/hf/version.txt")
    assert code == 1 and "Permission denied" in said


def test_tokens_in_a_container_of_docker(terminal):
    """By the number that the host has for who reads; root in a container is the daemon's root, with the daemon's token alone."""
    terminal.run("sudo systemctl start hffs")

    def read(user):
        return terminal.run(f"HF_TOKEN=hf_alice docker run --rm {user} -v /mnt:/mnt:rslave -e HF_TOKEN debian:12-slim "
                            "cat /mnt/hf/models--acme--private/snapshots/main/README.md")
    assert read("--user 4001") == (0, "# tiny\n")
    assert read("")[0] == 1
