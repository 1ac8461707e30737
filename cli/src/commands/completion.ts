/** `tulle completion`: a script that completes commands and options in bash, zsh or fish, made from the commands themselves. */
import { MeshError } from '@tulle/api';
import type { Command } from 'commander';

export function register(program: Command): void {
  program
    .command('completion')
    .argument('<shell>', 'bash, zsh or fish')
    .description('Print a completion script, such as for: source <(tulle completion bash)')
    .action((shell: string) => {
      const script = SCRIPTS[shell];
      if (!script)
        throw new MeshError('INVALID_ARGUMENT', `"${shell}": want one of ${Object.keys(SCRIPTS).join(', ')}`);
      process.stdout.write(script(wordLists(program)));
    });
}

/** What may follow a path of commands: sub-commands and options. */
type WordLists = Map<string, { commands: { name: string; what: string }[]; options: string[] }>;

function wordLists(command: Command, path = '', lists: WordLists = new Map()): WordLists {
  const subcommands = command.commands.filter((sub) => sub.name() !== 'help');
  lists.set(path, {
    commands: subcommands.map((sub) => ({ name: sub.name(), what: sub.description().split('.')[0]! })),
    options: [...command.options.flatMap(({ long }) => long ?? []), '--help'],
  });
  for (const sub of subcommands) wordLists(sub, path ? `${path} ${sub.name()}` : sub.name(), lists);
  return lists;
}

const caseLines = (lists: WordLists, indent: string): string =>
  [...lists]
    .map(
      ([path, { commands, options }]) =>
        `${indent}"${path}") words="${[...commands.map(({ name }) => name), ...options].join(' ')}" ;;`,
    )
    .join('\n');

/** Commands so far are joined to the path as long as the path is one that is known. */
function bash(lists: WordLists): string {
  return `# bash completion for tulle
_tulle() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" path="" word words i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "\${path:+$path }$word" in
      ${[...lists.keys()]
        .filter(Boolean)
        .map((path) => `"${path}"`)
        .join('|')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${caseLines(lists, '    ')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [[ -z "$COMPREPLY" ]] && COMPREPLY=($(compgen -f -- "$cur"))
}
complete -F _tulle tulle
`;
}

function zsh(lists: WordLists): string {
  return `#compdef tulle
# zsh completion for tulle
autoload -U +X bashcompinit && bashcompinit
${bash(lists)}`;
}

function fish(lists: WordLists): string {
  const quote = (text: string) => `'${text.replaceAll("'", "\\'")}'`;
  const lines = [...lists].flatMap(([path, { commands, options }]) => {
    const known = commands.map(({ name }) => name).join(' ');
    const condition = path
      ? `__fish_seen_subcommand_from ${path.split(' ').at(-1)}${known ? `; and not __fish_seen_subcommand_from ${known}` : ''}`
      : `not __fish_seen_subcommand_from ${known}`;
    return [
      ...commands.map(({ name, what }) => `complete -c tulle -n ${quote(condition)} -f -a ${name} -d ${quote(what)}`),
      ...options.map((option) => `complete -c tulle -n ${quote(condition)} -l ${option.slice(2)}`),
    ];
  });
  return `# fish completion for tulle\n${lines.join('\n')}\n`;
}

const SCRIPTS: Record<string, (lists: WordLists) => string> = { bash, zsh, fish };
