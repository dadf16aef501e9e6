/* What the plugin takes from its host at import. Serving polls reaches none of it. */
export const DEFAULT_ACCOUNT_ID = "default";

export function normalizeAccountId(id) {
  return id || DEFAULT_ACCOUNT_ID;
}

export function createPluginRuntimeStore() {
  let runtime;
  return {
    setRuntime: (next) => { runtime = next; },
    getRuntime: () => runtime,
    tryGetRuntime: () => runtime,
    clearRuntime: () => { runtime = undefined; },
  };
}
