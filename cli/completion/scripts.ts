/** The shell scripts that `completion bash` and `completion zsh` print. Both ask the program. */

/**
 * Bash splits words at `:`, `@` and `=` (COMP_WORDBREAKS) and replaces only the part after the last
 * of them, so the program gets whole words and the script cuts what already stands there.
 */
export function bashScript(): string {
  return `# bash completion for tusk and pachctl
_tusk_complete() {
  local line="\${COMP_LINE:0:COMP_POINT}" IFS=$' \\t\\n'
  local -a words
  read -r -a words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  local whole="\${words[\${#words[@]} - 1]}" kept=""
  local breaks="\${COMP_WORDBREAKS//[^:@=]/}"
  if [[ -n $breaks && $whole == *["$breaks"]* ]]; then
    kept="\${whole%"\${whole##*["$breaks"]}"}"
  fi
  # A word after @ is replaced together with its @ (readline's way with host names).
  [[ $kept == *@ ]] && kept="\${kept%@}"
  mapfile -t COMPREPLY < <("\${words[0]}" completion candidates -- "\${words[@]:1}" 2>/dev/null)
  COMPREPLY=("\${COMPREPLY[@]#"$kept"}")
  if [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *[@:/=] ]]; then
    compopt -o nospace
  fi
}
complete -F _tusk_complete tusk pachctl
`;
}

export function zshScript(): string {
  return `#compdef tusk pachctl
# zsh completion for tusk and pachctl
_tusk_complete() {
  local -a found open closed
  found=("\${(@f)$("\${words[1]}" completion candidates -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  local one
  for one in $found; do
    [[ -z $one ]] && continue
    if [[ $one == *[@:/=] ]]; then open+=("$one"); else closed+=("$one"); fi
  done
  (( \${#open} )) && compadd -S '' -- $open
  (( \${#closed} )) && compadd -- $closed
}
if [[ $funcstack[1] == _tusk_complete || $funcstack[1] == _tusk || $funcstack[1] == _pachctl ]]; then
  _tusk_complete "$@"
else
  compdef _tusk_complete tusk pachctl
fi
`;
}
