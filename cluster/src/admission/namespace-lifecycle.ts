/** Objects are created only in namespaces that exist and are not being deleted; the system's own namespaces stay. */
import { failure, forbidden, notFound } from '../apiserver/status.ts';
import type { Store } from '../store/store.ts';
import type { AdmissionStep } from './admission.ts';

const immortal = ['default', 'kube-system', 'kube-public'];

export function createNamespaceLifecycle(store: Store): AdmissionStep {
  return {
    mutate: (attributes) => {
      const { operation, resource, namespace, object } = attributes;
      if (operation !== 'CREATE' || namespace === undefined || !resource.namespaced) return object;
      const entry = store.get('namespaces', namespace);
      if (entry === undefined) throw notFound({ group: '', plural: 'namespaces' }, namespace);
      if (entry.object.metadata.deletionTimestamp !== undefined && attributes.subresource === '') {
        const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
        const error = forbidden(resource, attributes.name, why);
        const details = (error.status as { details: object }).details;
        throw failure(403, 'Forbidden', error.message, {
          ...details,
          causes: [
            {
              reason: 'NamespaceTerminating',
              message: `namespace ${namespace} is being terminated`,
              field: 'metadata.namespace',
            },
          ],
        });
      }
      return object;
    },
    validate: ({ operation, resource, name }) => {
      if (operation === 'DELETE' && resource.storage === 'namespaces' && immortal.includes(name)) {
        throw forbidden(resource, name, 'this namespace may not be deleted');
      }
    },
  };
}
