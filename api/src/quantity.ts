/** Kubernetes quantities: `250m`, `64Mi`, `1e3`. https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity */

const SUFFIXES: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

const QUANTITY = /^([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/;

/** The number that a quantity stands for, as near as a double is; undefined when it is not one. */
export function parseQuantity(text: string | number): number | undefined {
  const match = QUANTITY.exec(String(text));
  if (!match) return undefined;
  const [, digits, exponent, suffix = ''] = match;
  return Number(digits) * (exponent === undefined ? (SUFFIXES[suffix] ?? Number.NaN) : 10 ** Number(exponent));
}
