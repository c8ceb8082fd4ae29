# Serves datums one after the other from one shell (docs/warm-mode.md). The pipeline sets
# TUSK_WARM_FORMAT=sh; source this file and call `tusk_warm handle`:
#
#     . ./tusk_warm.sh
#     handle() { sort "$in" > /pfs/out/sorted; }
#     tusk_warm handle
#
# The function sees the variables a process per datum would have; a status other than 0 fails the
# datum.
tusk_warm() {
  while IFS= read -r tusk_request; do
    eval "$tusk_request"
    if "$@" </dev/null 3>&-; then
      echo '{"done":true}' >&3
    else
      echo "{\"error\":\"$1 returned $?\"}" >&3
    fi
  done
}
