/**
 * The shapes of the messages the command line prints and reads as JSON, in a short form:
 * `message: field type; …` and `enum name: VALUE=number …`; `*` marks repeated fields. Field order
 * is the order of the JSON keys. schema.test.ts holds it against proto/*.proto and prints what it
 * must be when they differ.
 */
export const SCHEMA_TEXT = `
admin.ClusterInfo: id string; deployment_id string
enum auth.Scope: NONE=0 READER=1 WRITER=2 OWNER=3
enum pfs.FileType: RESERVED=0 FILE=1 DIR=2
enum pfs.OriginKind: USER=0 AUTO=1 FSCK=2
enum pps.DatumState: FAILED=0 SUCCESS=1 SKIPPED=2 STARTING=3 RECOVERED=4
enum pps.JobState: JOB_STARTING=0 JOB_RUNNING=1 JOB_FAILURE=2 JOB_SUCCESS=3 JOB_KILLED=4
  JOB_MERGING=5 JOB_EGRESSING=6
enum pps.PipelineState: PIPELINE_STARTING=0 PIPELINE_RUNNING=1 PIPELINE_RESTARTING=2
  PIPELINE_FAILURE=3 PIPELINE_PAUSED=4 PIPELINE_STANDBY=5 PIPELINE_CRASHING=6
pfs.Block: hash string
pfs.BlockRef: block pfs.Block; range pfs.ByteRange
pfs.Branch: repo pfs.Repo; name string
pfs.BranchInfo: name string; head pfs.Commit; provenance pfs.Branch*; branch pfs.Branch;
  subvenance pfs.Branch*; direct_provenance pfs.Branch*; trigger pfs.Trigger
pfs.ByteRange: lower uint64; upper uint64
pfs.Commit: repo pfs.Repo; id string
pfs.CommitInfo: commit pfs.Commit; parent_commit pfs.Commit; started time; finished time;
  size_bytes uint64; tree pfs.Object; description string; subvenance pfs.CommitRange*;
  child_commits pfs.Commit*; ready_provenance int64; trees pfs.Object*; datums pfs.Object;
  branch pfs.Branch; provenance pfs.CommitProvenance*; origin pfs.CommitOrigin;
  subvenant_commits_success int64; subvenant_commits_failure int64; subvenant_commits_total
  int64
pfs.CommitOrigin: kind pfs.OriginKind
pfs.CommitProvenance: commit pfs.Commit; branch pfs.Branch
pfs.CommitRange: lower pfs.Commit; upper pfs.Commit
pfs.CreateBranchRequest: head pfs.Commit; s_branch string; branch pfs.Branch; provenance
  pfs.Branch*; trigger pfs.Trigger
pfs.CreateRepoRequest: repo pfs.Repo; description string; update bool
pfs.DeleteBranchRequest: branch pfs.Branch; force bool
pfs.DeleteCommitRequest: commit pfs.Commit
pfs.DeleteRepoRequest: repo pfs.Repo; force bool; all bool; split_transaction bool
pfs.File: commit pfs.Commit; path string
pfs.FileInfo: file pfs.File; file_type pfs.FileType; size_bytes uint64; children string*; hash
  bytes; objects pfs.Object*; blockRefs pfs.BlockRef*; committed time
pfs.FinishCommitRequest: commit pfs.Commit; description string; tree pfs.Object; empty bool;
  trees pfs.Object*; size_bytes uint64; datums pfs.Object
pfs.Object: hash string
pfs.Repo: name string
pfs.RepoAuthInfo: access_level auth.Scope
pfs.RepoInfo: repo pfs.Repo; created time; size_bytes uint64; description string; auth_info
  pfs.RepoAuthInfo; branches pfs.Branch*; tombstone bool
pfs.StartCommitRequest: parent pfs.Commit; branch string; description string; provenance
  pfs.CommitProvenance*
pfs.Trigger: branch string; all bool; cron_spec string; size string; commits int64
pps.Aggregate: count int64; mean double; stddev double; fifth_percentile double;
  ninety_fifth_percentile double
pps.BuildSpec: path string; language string; image string
pps.ChunkSpec: number int64; size_bytes int64
pps.CreatePipelineRequest: pipeline pps.Pipeline; transform pps.Transform; update bool;
  parallelism_spec pps.ParallelismSpec; egress pps.Egress; output_branch string;
  resource_requests pps.ResourceSpec; input pps.Input; description string; cache_size string;
  enable_stats bool; reprocess bool; max_queue_size int64; service pps.Service; resource_limits
  pps.ResourceSpec; chunk_spec pps.ChunkSpec; datum_timeout duration; job_timeout duration; salt
  string; standby bool; datum_tries int64; scheduling_spec pps.SchedulingSpec; pod_spec string;
  hashtree_spec pps.HashtreeSpec; pod_patch string; spout pps.Spout; spec_commit pfs.Commit;
  tf_job pps.TFJob; s3_out bool; metadata pps.Metadata; sidecar_resource_limits
  pps.ResourceSpec; autoscaling bool; reprocess_spec string
pps.CronInput: name string; repo string; commit string; spec string; start time; overwrite bool
pps.Datum: id string; job pps.Job
pps.DatumInfo: datum pps.Datum; state pps.DatumState; stats pps.ProcessStats; pfs_state
  pfs.File; data pfs.FileInfo*; reason string
pps.Egress: URL string
pps.GPUSpec: type string; number int64
pps.GitInput: name string; url string; branch string; commit string; poll_interval duration
pps.HashtreeSpec: constant uint64
pps.Input: cross pps.Input*; union pps.Input*; cron pps.CronInput; git pps.GitInput; pfs
  pps.PFSInput; join pps.Input*; group pps.Input*
pps.InputFile: path string; hash bytes
pps.Job: id string
pps.JobInfo: job pps.Job; transform pps.Transform; pipeline pps.Pipeline; parent_job pps.Job;
  started time; finished time; output_commit pfs.Commit; state pps.JobState; parallelism_spec
  pps.ParallelismSpec; pipeline_version uint64; service pps.Service; egress pps.Egress;
  output_branch string; output_repo pfs.Repo; restart uint64; data_processed int64; data_total
  int64; worker_status pps.WorkerStatus*; resource_requests pps.ResourceSpec; input pps.Input;
  new_branch pfs.BranchInfo; stats_commit pfs.Commit; data_skipped int64; stats
  pps.ProcessStats; enable_stats bool; salt string; reason string; resource_limits
  pps.ResourceSpec; chunk_spec pps.ChunkSpec; datum_timeout duration; job_timeout duration;
  data_failed int64; datum_tries int64; scheduling_spec pps.SchedulingSpec; pod_spec string;
  pod_patch string; spout pps.Spout; data_recovered int64; spec_commit pfs.Commit;
  sidecar_resource_limits pps.ResourceSpec
pps.LogMessage: pipeline_name string; job_id string; data pps.InputFile*; ts time; message
  string; worker_id string; user bool; datum_id string; master bool
pps.Metadata: annotations map<string,string>; labels map<string,string>
pps.PFSInput: name string; repo string; branch string; commit string; glob string; lazy bool;
  empty_files bool; join_on string; s3 bool; trigger pfs.Trigger; group_by string; outer_join
  bool
pps.ParallelismSpec: constant uint64; coefficient double
pps.Pipeline: name string
pps.PipelineInfo: pipeline pps.Pipeline; transform pps.Transform; created_at time; state
  pps.PipelineState; recent_error string; job_counts map<int32,int32>; parallelism_spec
  pps.ParallelismSpec; version uint64; egress pps.Egress; output_branch string; id string;
  resource_requests pps.ResourceSpec; input pps.Input; description string; cache_size string;
  enable_stats bool; salt string; reason string; max_queue_size int64; service pps.Service;
  resource_limits pps.ResourceSpec; chunk_spec pps.ChunkSpec; datum_timeout duration;
  job_timeout duration; githook_url string; spec_commit pfs.Commit; standby bool; stopped bool;
  datum_tries int64; scheduling_spec pps.SchedulingSpec; pod_spec string; hashtree_spec
  pps.HashtreeSpec; last_job_state pps.JobState; pod_patch string; spout pps.Spout; tf_job
  pps.TFJob; s3_out bool; metadata pps.Metadata; workers_requested int64; workers_available
  int64; sidecar_resource_limits pps.ResourceSpec; unclaimed_tasks int64; worker_rc string;
  autoscaling bool; reprocess_spec string
pps.ProcessStats: download_time duration; process_time duration; upload_time duration;
  download_bytes uint64; upload_bytes uint64
pps.ResourceSpec: cpu float; memory string; disk string; gpu pps.GPUSpec
pps.SchedulingSpec: node_selector map<string,string>; priority_class_name string
pps.SecretMount: name string; mount_path string; env_var string; key string
pps.Service: internal_port int32; external_port int32; ip string; type string
pps.Spout: overwrite bool; service pps.Service; marker string
pps.TFJob: tf_job string
pps.Transform: image string; cmd string*; env map<string,string>; secrets pps.SecretMount*;
  stdin string*; accept_return_code int64*; debug bool; image_pull_secrets string*; user string;
  working_dir string; dockerfile string; err_cmd string*; err_stdin string*; build pps.BuildSpec;
  datum_batching bool
pps.UpdateJobStateRequest: job pps.Job; state pps.JobState; reason string; restart uint64;
  data_processed int64; data_skipped int64; data_failed int64; data_recovered int64; data_total
  int64; stats pps.ProcessStats
pps.WorkerStatus: worker_id string; job_id string; data pps.InputFile*; started time; stats
  pps.ProcessStats; queue_size int64; data_processed int64; data_recovered int64
transaction.DeleteAllRequest: 
transaction.Transaction: id string
transaction.TransactionInfo: transaction transaction.Transaction; requests
  transaction.TransactionRequest*; responses transaction.TransactionResponse*; started time
transaction.TransactionRequest: create_repo pfs.CreateRepoRequest; delete_repo
  pfs.DeleteRepoRequest; start_commit pfs.StartCommitRequest; finish_commit
  pfs.FinishCommitRequest; delete_commit pfs.DeleteCommitRequest; create_branch
  pfs.CreateBranchRequest; delete_branch pfs.DeleteBranchRequest; delete_all
  transaction.DeleteAllRequest; update_job_state pps.UpdateJobStateRequest; create_pipeline
  pps.CreatePipelineRequest
transaction.TransactionResponse: commit pfs.Commit
tusk.DatumAggregates: download_time pps.Aggregate; process_time pps.Aggregate; upload_time
  pps.Aggregate; download_bytes pps.Aggregate; upload_bytes pps.Aggregate
versionpb.Version: major uint32; minor uint32; micro uint32; additional string
`;
