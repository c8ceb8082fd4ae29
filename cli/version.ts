/** The version v1 clients would report: servers and scripts compare its first two numbers. */
export const CLIENT_VERSION = {
  text: '1.13.4',
  message: { major: 1, minor: 13, micro: 4, additional: '' },
};
