"""A repo, a commit, a pipeline, its job, its output and its logs, with python-pachyderm 6.3.3."""

import os

import python_pachyderm
from python_pachyderm.service import pps_proto

REPO = "py_words"
PIPELINE = "py_count"


def main():
    client = python_pachyderm.Client.new_from_pachd_address(
        os.environ.get("PACHD_ADDRESS", "127.0.0.1:30650")
    )
    print("API version", client.get_remote_version().major, client.get_remote_version().minor)

    # What an earlier run left.
    client.delete_pipeline(PIPELINE, force=True)
    client.delete_repo(REPO, force=True)

    client.create_repo(REPO)
    with client.commit(REPO, "master") as commit:
        client.put_file_bytes(commit, "/a.txt", b"one two three\n")
        client.put_file_bytes(commit, "/b.txt", b"four five\n")

    client.create_pipeline(
        PIPELINE,
        transform=pps_proto.Transform(
            cmd=["sh"],
            stdin=[
                'for f in /pfs/py_words/*; do wc -w < "$f" > /pfs/out/$(basename "$f"); done',
                "echo counted $(ls /pfs/py_words)",
            ],
        ),
        input=pps_proto.Input(pfs=pps_proto.PFSInput(repo=REPO, glob="/*")),
    )

    for job in client.flush_job([(REPO, "master")]):
        name = pps_proto.JobState.Name(job.state)
        print(name, f"{job.data_processed} + {job.data_skipped} / {job.data_total}")
        for line in client.get_job_logs(job.job.id):
            if line.user:
                print("log:", line.message.strip())

    for info in client.list_file((PIPELINE, "master"), "/"):
        words = client.get_file((PIPELINE, "master"), info.file.path).read().decode().strip()
        print(info.file.path, words)


if __name__ == "__main__":
    main()
