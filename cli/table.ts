/** Renders the API's Table answers the way kubectl does: upper-case headers, columns three spaces apart. Pure. */
export interface Table {
  readonly columnDefinitions: ReadonlyArray<{ readonly name: string; readonly priority?: number }>;
  readonly rows?: ReadonlyArray<{ readonly cells: readonly unknown[] }>;
}

const GAP = '   ';

/** Lines without a line end. Control characters in cells are shown as `?`: they may not steer a terminal. */
export function renderTable(table: Table, wide: boolean): string[] {
  const shown = table.columnDefinitions
    .map((column, index) => ({ name: column.name, priority: column.priority ?? 0, index }))
    .filter((column) => wide || column.priority === 0);
  const lines = [shown.map((column) => column.name.toUpperCase())];
  for (const row of table.rows ?? []) {
    lines.push(shown.map((column) => printable(String(row.cells[column.index] ?? ''))));
  }
  const widths = shown.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  return lines.map((line) =>
    line
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join(GAP)
      .trimEnd(),
  );
}

function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to replace.
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}
