// A repo, a put in one stream, a pipeline, its job and its output, with stubs made by protoc.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/tusk-tour/gen/pfs"
	"example.com/tusk-tour/gen/pps"
)

const (
	repo         = "go_words"
	pipeline     = "go_count"
	messageBytes = 20 * 1024 * 1024
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	address := os.Getenv("PACHD_ADDRESS")
	if address == "" {
		address = "127.0.0.1:30650"
	}
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(messageBytes), grpc.MaxCallSendMsgSize(messageBytes)))
	if err != nil {
		return err
	}
	defer conn.Close()
	files, pipelines := pfs.NewAPIClient(conn), pps.NewAPIClient(conn)

	// What an earlier run left.
	drop := &pps.DeletePipelineRequest{Pipeline: &pps.Pipeline{Name: pipeline}, Force: true}
	if _, err := pipelines.DeletePipeline(ctx, drop); err != nil {
		return err
	}
	dropRepo := &pfs.DeleteRepoRequest{Repo: &pfs.Repo{Name: repo}, Force: true}
	if _, err := files.DeleteRepo(ctx, dropRepo); err != nil {
		return err
	}

	if _, err := files.CreateRepo(ctx, &pfs.CreateRepoRequest{Repo: &pfs.Repo{Name: repo}}); err != nil {
		return err
	}
	head := &pfs.Commit{Repo: &pfs.Repo{Name: repo}, Id: "master"}
	if err := put(ctx, files, head, "/a.txt", "one two three\n", "/b.txt", "four five\n"); err != nil {
		return err
	}

	if _, err := pipelines.CreatePipeline(ctx, &pps.CreatePipelineRequest{
		Pipeline: &pps.Pipeline{Name: pipeline},
		Transform: &pps.Transform{
			Cmd: []string{"sh", "-c", "wc -w < $go_words > /pfs/out/$(basename $go_words)"},
		},
		Input: &pps.Input{Pfs: &pps.PFSInput{Repo: repo, Glob: "/*"}},
	}); err != nil {
		return err
	}

	jobs, err := pipelines.FlushJob(ctx, &pps.FlushJobRequest{Commits: []*pfs.Commit{head}})
	if err != nil {
		return err
	}
	if err := each(jobs.Recv, func(job *pps.JobInfo) error {
		fmt.Printf("%s %d/%d\n", job.State, job.DataProcessed, job.DataTotal)
		return nil
	}); err != nil {
		return err
	}

	output := &pfs.Commit{Repo: &pfs.Repo{Name: pipeline}, Id: "master"}
	list, err := files.ListFileStream(ctx, &pfs.ListFileRequest{File: &pfs.File{Commit: output, Path: "/"}})
	if err != nil {
		return err
	}
	return each(list.Recv, func(info *pfs.FileInfo) error {
		content, err := get(ctx, files, info.File)
		if err != nil {
			return err
		}
		fmt.Println(info.File.Path, strings.TrimSpace(content))
		return nil
	})
}

// put sends path and content in turn as one stream: one commit, visible when it has answered.
func put(ctx context.Context, files pfs.APIClient, commit *pfs.Commit, pairs ...string) error {
	stream, err := files.PutFile(ctx)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		request := &pfs.PutFileRequest{
			File:  &pfs.File{Commit: commit, Path: pairs[i]},
			Value: []byte(pairs[i+1]),
		}
		if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	// The server's answer, also the one behind a Send that failed with EOF.
	_, err = stream.CloseAndRecv()
	return err
}

func get(ctx context.Context, files pfs.APIClient, file *pfs.File) (string, error) {
	stream, err := files.GetFile(ctx, &pfs.GetFileRequest{File: file})
	if err != nil {
		return "", err
	}
	var content bytes.Buffer
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return content.String(), nil
		}
		if err != nil {
			return "", err
		}
		content.Write(part.Value)
	}
}

// each calls use for every message until the stream has ended.
func each[T any](receive func() (T, error), use func(T) error) error {
	for {
		message, err := receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := use(message); err != nil {
			return err
		}
	}
}
