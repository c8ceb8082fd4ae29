/** Commands whose change is recorded in the active transaction, when there is one, and say so. */
import type { Command, Run } from '../grammar/command.js';
import type { Session } from '../session.js';

/** Wraps the code of a command that always joins. */
export function joins(load: Command['load']): () => Promise<Run> {
  return async () => {
    const run = await load();
    return async (call) => {
      const code = await run(call);
      await noteJoined(call.session);
      return code;
    };
  };
}

/** Says that what was just asked for waits in the active transaction. */
export async function noteJoined(session: Session): Promise<void> {
  const id = (await session.client()).target.context.active_transaction;
  if (id) session.note(`Added to transaction: ${id}`);
}
