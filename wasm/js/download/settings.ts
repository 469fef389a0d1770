/** Sizes and times of downloads, in one place so that tests can make them smaller. */
export const settings = {
  /** Bytes of a piece: what is fetched by one request, hashed and mended as one. */
  piece: 4 << 20,
  /** Bytes of an unfinished piece after which it is kept as far as it has come. */
  save: 1 << 20,
  /** Attempts without a single byte before a download gives up. */
  tries: 5,
  /** Milliseconds before the second attempt; each further pause is twice as long. */
  pause: 500,
  /** Milliseconds without a byte after which a request counts as lost. */
  stall: 30_000,
  /** Milliseconds between two calls of a progress callback. */
  tick: 50,
  /** Milliseconds to wait for a file that somebody else holds, where there are no Web Locks. */
  patience: 3_000,
};
