/* adit completion SHELL: what the shell asks `adit complete` for, which knows the same tables. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

static const struct { const char *shell, *script; } scripts[] = {
    { "bash",
      "# adit completion bash > /usr/share/bash-completion/completions/adit\n"
      "_adit() {\n"
      "    local IFS=$'\\n'\n"
      "    COMPREPLY=($(compgen -W \"$(\"${COMP_WORDS[0]}\" complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" \\\n"
      "        2>/dev/null | cut -f 1)\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
      "}\n"
      "complete -o default -F _adit adit\n" },
    { "zsh",
      "#compdef adit\n"
      "# adit completion zsh > a directory of $fpath, as _adit\n"
      "_adit() {\n"
      "    local -a found\n"
      "    local word help\n"
      "    while IFS=$'\\t' read -r word help; do\n"
      "        found+=(\"${word//:/\\\\:}:$help\")\n"
      "    done < <(\"${words[1]}\" complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
      "    if (( ${#found} )); then _describe adit found; else _files; fi\n"
      "}\n"
      "if [ \"$funcstack[1]\" = _adit ]; then _adit \"$@\"; else compdef _adit adit; fi\n" },
    { "fish",
      "# adit completion fish > ~/.config/fish/completions/adit.fish\n"
      "function __adit_complete\n"
      "    set -l words (commandline -opc) (commandline -ct)\n"
      "    command adit complete $words[2..-1] 2>/dev/null\n"
      "end\n"
      "complete -c adit -f -a '(__adit_complete)'\n" },
};

int completion_command(int argc, char **argv)
{
    const char *wanted = argc == 2 ? argv[1] : "";

    if (strcmp(wanted, "--help") == 0) {
        puts("Usage: adit completion SHELL\n"
             "Prints the completion for bash, zsh or fish: adit completion bash > FILE, and read the file\n"
             "from your shell's start-up, or put it where its first line says.");
        return EXIT_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        if (strcmp(wanted, scripts[i].shell) == 0) {
            fputs(scripts[i].script, stdout);
            return EXIT_OK;
        }
    }
    command_complain("usage: adit completion bash|zsh|fish");
    return EXIT_CANNOT;
}
