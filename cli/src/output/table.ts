/** A table whose columns are as wide as what is in them, two spaces apart, as kubectl prints it. */

export interface Column {
  title: string;
  isRight?: boolean;
}

export function renderTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map(({ title }, i) =>
    Math.max(title.length, ...rows.map((row) => visibleLength(row[i] ?? ''))),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => {
        const padding = ' '.repeat(Math.max(0, widths[i]! - visibleLength(cell)));
        return columns[i]?.isRight ? padding + cell : cell + padding;
      })
      .join('   ')
      .trimEnd();
  return [columns.map(({ title }) => title), ...rows].map((cells) => `${line(cells)}\n`).join('');
}

/** Without the escape sequences of colours. */
function visibleLength(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: an escape sequence begins with one
  return text.replace(/\u001b\[[0-9;]*m/g, '').length;
}
