import { MemoryStore } from "./memory-store.ts";

/** From now on `store` lists what it holds at this moment, whatever is put and deleted; the result
 * ends that. All else is answered as it is. */
export function staleLists(store: MemoryStore): () => void {
  const then = new MemoryStore("");
  for (const [key, bytes] of store.objects) then.objects.set(key, bytes);
  const list = store.list;
  store.list = then.list.bind(then);
  return () => {
    store.list = list;
  };
}
