/** Numbers as people read them. */

const number = (digits: number) => new Intl.NumberFormat('en', { maximumFractionDigits: digits });
const whole = number(0);
const tenths = number(1);
const hundredths = number(2);

export const count = (n: number): string => whole.format(n);

/** Such as `98.4 MB`. */
export function bytes(n: number): string {
  if (n >= 1e9) return `${hundredths.format(n / 1e9)} GB`;
  if (n >= 1e8) return `${whole.format(n / 1e6)} MB`;
  if (n >= 1e6) return `${tenths.format(n / 1e6)} MB`;
  return `${whole.format(Math.ceil(n / 1e3))} kB`;
}

/** Such as `1 min 20 s`. */
export function duration(seconds: number): string {
  const s = Math.ceil(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** Such as `42.5 tokens/s`. */
export const rate = (perSecond: number): string => `${(perSecond < 100 ? tenths : whole).format(perSecond)} tokens/s`;
