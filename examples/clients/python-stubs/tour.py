"""A put in one stream, a pipeline, its job and its output, with stubs made by grpcio-tools."""

import os
import sys

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "stubs"))

import pfs_pb2 as pfs  # noqa: E402
import pfs_pb2_grpc as pfs_grpc  # noqa: E402
import pps_pb2 as pps  # noqa: E402
import pps_pb2_grpc as pps_grpc  # noqa: E402

REPO = "stub_words"
PIPELINE = "stub_count"
MESSAGE_BYTES = 20 * 1024 * 1024


def file_at(path):
    return pfs.File(commit=pfs.Commit(repo=pfs.Repo(name=REPO), id="master"), path=path)


def put_requests(files):
    """One stream is one commit: the first message of a file names it, more may follow with bytes."""
    for path, content in files.items():
        yield pfs.PutFileRequest(file=file_at(path), value=content)


def main():
    channel = grpc.insecure_channel(
        os.environ.get("PACHD_ADDRESS", "127.0.0.1:30650"),
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
        ],
    )
    files = pfs_grpc.APIStub(channel)
    pipelines = pps_grpc.APIStub(channel)

    # What an earlier run left.
    pipelines.DeletePipeline(
        pps.DeletePipelineRequest(pipeline=pps.Pipeline(name=PIPELINE), force=True)
    )
    files.DeleteRepo(pfs.DeleteRepoRequest(repo=pfs.Repo(name=REPO), force=True))

    files.CreateRepo(pfs.CreateRepoRequest(repo=pfs.Repo(name=REPO)))
    # PutFile has no reply to wait for in between: it returns when everything is stored.
    files.PutFile(put_requests({"/a.txt": b"one two three\n", "/b.txt": b"four five\n"}))

    pipelines.CreatePipeline(
        pps.CreatePipelineRequest(
            pipeline=pps.Pipeline(name=PIPELINE),
            transform=pps.Transform(
                cmd=["sh", "-c", "wc -w < $stub_words > /pfs/out/$(basename $stub_words)"]
            ),
            input=pps.Input(pfs=pps.PFSInput(repo=REPO, glob="/*")),
        )
    )

    head = pfs.Commit(repo=pfs.Repo(name=REPO), id="master")
    for job in pipelines.FlushJob(pps.FlushJobRequest(commits=[head])):
        print(pps.JobState.Name(job.state), f"{job.data_processed}/{job.data_total}")

    output = pfs.Commit(repo=pfs.Repo(name=PIPELINE), id="master")
    for info in files.ListFileStream(pfs.ListFileRequest(file=pfs.File(commit=output, path="/"))):
        chunks = files.GetFile(pfs.GetFileRequest(file=info.file))
        print(info.file.path, b"".join(chunk.value for chunk in chunks).decode().strip())


if __name__ == "__main__":
    main()
