/** The emoji that can be voted for, and the one whose votes always fail. */

export const catalogue = [
  { shortcode: ':rocket:', unicode: '🚀' },
  { shortcode: ':tada:', unicode: '🎉' },
  { shortcode: ':ghost:', unicode: '👻' },
  { shortcode: ':pizza:', unicode: '🍕' },
  { shortcode: ':crab:', unicode: '🦀' },
  { shortcode: ':spider_web:', unicode: '🕸️' },
  { shortcode: ':lotus:', unicode: '🪷' },
  { shortcode: ':satellite:', unicode: '🛰️' },
  { shortcode: ':melting_face:', unicode: '🫠' },
  { shortcode: ':feather:', unicode: '🪶' },
];

/** The bug to be found with `tulle stat`: voting answers every vote for it with an error. */
export const FAILING_SHORTCODE = ':melting_face:';
