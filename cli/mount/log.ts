/** Where a mount says what went wrong: a line beside the output. */
export type Log = (line: string) => void;
