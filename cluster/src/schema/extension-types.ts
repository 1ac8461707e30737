/**
 * Structure of admissionregistration.k8s.io/v1 and apiextensions.k8s.io/v1.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const extensionTypes = `
MatchCondition: expression! name!
MutatingWebhook: admissionReviewVersions!:[] clientConfig!:WebhookClientConfig failurePolicy
  matchConditions:[MatchCondition](name) matchPolicy name! namespaceSelector:LabelSelector
  objectSelector:LabelSelector reinvocationPolicy rules:[RuleWithOperations] sideEffects! timeoutSeconds:int64
MutatingWebhookConfiguration: metadata:ObjectMeta webhooks:[MutatingWebhook](name)
RuleWithOperations: apiGroups:[] apiVersions:[] operations:[] resources:[] scope
ServiceReference: name! namespace! path port:int
ValidatingWebhook: admissionReviewVersions!:[] clientConfig!:WebhookClientConfig failurePolicy
  matchConditions:[MatchCondition](name) matchPolicy name! namespaceSelector:LabelSelector
  objectSelector:LabelSelector rules:[RuleWithOperations] sideEffects! timeoutSeconds:int64
ValidatingWebhookConfiguration: metadata:ObjectMeta webhooks:[ValidatingWebhook](name)
WebhookClientConfig: caBundle service:ServiceReference url
CrdServiceReference: name! namespace! path port:int
CrdWebhookClientConfig: caBundle service:CrdServiceReference url
CustomResourceColumnDefinition: description format jsonPath! name! priority:int type!
CustomResourceConversion: strategy! webhook:WebhookConversion
CustomResourceDefinition: metadata:ObjectMeta spec!:CustomResourceDefinitionSpec
  status:CustomResourceDefinitionStatus
CustomResourceDefinitionCondition: lastTransitionTime:time message reason status type
CustomResourceDefinitionNames: categories:[] kind! listKind plural! shortNames:[] singular
CustomResourceDefinitionSpec: conversion:CustomResourceConversion group! names!:CustomResourceDefinitionNames
  preserveUnknownFields:bool scope! versions!:[CustomResourceDefinitionVersion]
CustomResourceDefinitionStatus: acceptedNames:CustomResourceDefinitionNames
  conditions:[CustomResourceDefinitionCondition](type) observedGeneration:int64 storedVersions:[]
CustomResourceDefinitionVersion: additionalPrinterColumns:[CustomResourceColumnDefinition] deprecated:bool
  deprecationWarning name! schema:CustomResourceValidation selectableFields:[SelectableField] served!:bool
  storage!:bool subresources:CustomResourceSubresources
CustomResourceSubresourceScale: labelSelectorPath specReplicasPath! statusReplicasPath!

CustomResourceSubresources: scale:CustomResourceSubresourceScale status:any
CustomResourceValidation: openAPIV3Schema:any
SelectableField: jsonPath!
WebhookConversion: clientConfig:CrdWebhookClientConfig conversionReviewVersions!:[]
`;
