/**
 * Names of images as Kubernetes and Docker read them: `nginx` means `docker.io/library/nginx:latest`. podman
 * alone would look into its own list of search registries, which differs from board to board.
 */

/** The full name: registry, path, and a tag or digest. */
export function fullImageName(image: string): string {
  const slash = image.indexOf('/');
  const first = slash < 0 ? '' : image.slice(0, slash);
  const hasRegistry = first === 'localhost' || first.includes('.') || first.includes(':');
  const named = hasRegistry
    ? image
    : slash < 0
      ? `docker.io/library/${image}`
      : `docker.io/${image}`;
  const path = named.slice(named.lastIndexOf('/') + 1);
  return path.includes(':') || path.includes('@') ? named : `${named}:latest`;
}

/** Images of this board only, made or imported on it: no registry has them. */
export function isLocalImage(image: string): boolean {
  return image.startsWith('localhost/');
}
